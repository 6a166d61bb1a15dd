#include "engine/prompt_reader.h"

#include <algorithm>

#include "core/error.h"

namespace pith {
namespace {

// How much of the prompt its reduction sees; all of it without one.
int64_t ContextTokens(const TextRequest& request) {
  const auto tokens = std::ssize(request.prompt);
  if (request.options.reduction.none()) return tokens;
  return std::max<int64_t>(0, tokens - request.whole_tail);
}

}  // namespace

PromptReader::PromptReader(const ReadingRoom& room, const TextRequest& request, Sequence& sequence,
                           const std::atomic<bool>& cancel)
    : room_(room),
      request_(request),
      sequence_(sequence),
      cancel_(cancel),
      reduces_(!request.options.reduction.none()),
      logits_(room.engine.model.config().vocab_size) {
  report_.tokens = std::ssize(request.prompt);
  Begin();
}

// The next pass: the context, or what follows it.
void PromptReader::Begin() {
  const int64_t context = ContextTokens(request_);
  const bool in_context = at_ < context;
  pass_tokens_ = (in_context ? context : std::ssize(request_.prompt)) - at_;
  charged_ = 0;
  reduction_ = in_context ? request_.options.reduction.For(pass_tokens_) : Reduction();
  options_ = room_.engine.Prefilling({.cancel = &cancel_, .progress = nullptr}, reduction_);
  options_.rows_per_chunk = room_.rows_per_chunk;
  const bool all = request_.score_prompt && !(reduces_ && in_context);
  input_ = {std::span(request_.prompt).subspan(at_, pass_tokens_), &sequence_,
            all ? WantRows::kAll : WantRows::kLast};
  pass_.emplace(room_.engine.model, room_.engine.exec, room_.pool, std::span(&input_, 1), options_,
                room_.workspace);
}

int64_t PromptReader::Advance(int64_t rows) {
  pass_->Advance(rows, [this](std::span<const OutputRow> outputs, MatView<const float> normed) {
    Take(outputs, normed);
  });
  const int64_t left = pass_tokens_ - charged_;
  const int64_t taken = std::max<int64_t>(1, std::min(rows, left));
  charged_ += std::min(taken, left);
  if (pass_->done()) EndPass();
  return taken;
}

void PromptReader::EndPass() {
  const PrefillResult result = pass_->TakeResult();
  pass_.reset();
  report_.rows_left += result.RowsLeft(0, pass_tokens_);
  if (!reduction_.none()) report_.realised = result.realised;
  at_ += pass_tokens_;
  if (!done()) {
    Begin();
    return;
  }
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start_;
  report_.seconds = elapsed.count();
}

void PromptReader::Take(std::span<const OutputRow> rows, MatView<const float> normed) {
  const bool ends = at_ + rows.back().position + 1 == std::ssize(request_.prompt);
  if (ends) {
    room_.engine.ReadLogits(normed.Rows(std::ssize(rows) - 1, 1), logits_);
    rows = rows.first(rows.size() - 1);
  }
  if (request_.score_prompt && !rows.empty()) {
    Score(rows, normed.Rows(0, std::ssize(rows)));
  }
}

void PromptReader::Score(std::span<const OutputRow> rows, MatView<const float> normed) {
  std::vector<int32_t> labels;
  for (const OutputRow& row : rows) labels.push_back(request_.prompt[at_ + row.position + 1]);
  const std::vector<LabelScore> scores = room_.labels.Score(normed, labels);
  for (size_t i = 0; i < labels.size(); ++i) {
    logprobs_.push_back({labels[i], scores[i].logprob, scores[i].top, scores[i].top_logprob, {}});
  }
}

}  // namespace pith
