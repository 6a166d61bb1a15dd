#include "serve/metrics.h"

#include "core/error.h"

namespace pith::serve {
namespace {

void Head(std::string& text, const char* name, const char* type, const char* help) {
  text += StrCat("# HELP ", name, " ", help, "\n# TYPE ", name, " ", type, "\n");
}

void One(std::string& text, const char* name, const char* type, const char* help, int64_t value) {
  Head(text, name, type, help);
  text += StrCat(name, " ", value, "\n");
}

}  // namespace

void Metrics::CountAnswer(const std::string& path, int status) {
  const std::scoped_lock lock(mutex_);
  ++answers_[{path, status}];
}

void Metrics::CountFirst(double seconds) {
  const std::scoped_lock lock(mutex_);
  ++firsts_;
  first_seconds_ += seconds;
  for (size_t b = 0; b < kBounds.size(); ++b) within_[b] += seconds <= kBounds[b] ? 1 : 0;
}

std::string Metrics::Text(const SchedulerCounts& counts) const {
  std::string text;
  One(text, "pith_texts_waiting", "gauge", "Texts that wait for their turn.", counts.waiting);
  One(text, "pith_texts_reading", "gauge", "Texts whose prompt is being read.", counts.reading);
  One(text, "pith_texts_writing", "gauge", "Texts that are being written.", counts.writing);
  One(text, "pith_texts_total", "counter", "Texts that ended.", counts.texts);
  One(text, "pith_texts_refused_total", "counter", "Texts that could not wait.", counts.refused);
  One(text, "pith_prompt_tokens_total", "counter", "Tokens of prompts read.", counts.prompt_tokens);
  One(text, "pith_prompt_rows_left_total", "counter",
      "Of the tokens of prompts, those that passed every layer.", counts.prompt_rows_left);
  One(text, "pith_prompt_tokens_reused_total", "counter",
      "Of the tokens of prompts, those that were not read again.", counts.prompt_tokens_reused);
  One(text, "pith_states_kept", "gauge", "States of prompts that are kept.", counts.states_kept);
  One(text, "pith_states_kept_bytes", "gauge", "What they take, the tokens that lead to them too.",
      counts.states_kept_bytes);
  One(text, "pith_generated_tokens_total", "counter", "Tokens written.", counts.generated_tokens);
  One(text, "pith_steps_total", "counter", "Steps, each one token for all texts being written.",
      counts.steps);
  const std::scoped_lock lock(mutex_);
  Head(text, "pith_http_requests_total", "counter", "Answers, by path and status.");
  for (const auto& [key, count] : answers_) {
    text += StrCat("pith_http_requests_total{path=\"", key.first, "\",status=\"", key.second,
                   "\"} ", count, "\n");
  }
  constexpr char kFirst[] = "pith_first_text_seconds";
  Head(text, kFirst, "histogram", "Time from a request until its first text.");
  for (size_t b = 0; b < kBounds.size(); ++b) {
    text += StrCat(kFirst, "_bucket{le=\"", kBounds[b], "\"} ", within_[b], "\n");
  }
  text += StrCat(kFirst, "_bucket{le=\"+Inf\"} ", firsts_, "\n", kFirst, "_sum ", first_seconds_,
                 "\n", kFirst, "_count ", firsts_, "\n");
  return text;
}

}  // namespace pith::serve
