#include "engine/prompt_reader.h"

#include <algorithm>

#include "core/error.h"

namespace pith {
namespace {

int64_t ContextOf(const TextRequest& request) {
  if (request.options.reduction.none()) return 0;
  return std::max<int64_t>(0, std::ssize(request.prompt) - request.whole_tail);
}

}  // namespace

PromptReader::PromptReader(const ReadingRoom& room, const TextRequest& request, Sequence& sequence,
                           const std::atomic<bool>& cancel)
    : room_(room),
      request_(request),
      sequence_(sequence),
      cancel_(cancel),
      context_(ContextOf(request)),
      logits_(room.engine.model.config().vocab_size) {
  report_.tokens = std::ssize(request.prompt);
  FindCuts();
  Begin();
}

// Each piece of a context and its tail are a pass each. What is read whole is cut where a state is
// kept, too. A prompt that is scored needs all of its rows, and one that goes on from a loaded
// state is the beginning of no text.
void PromptReader::FindCuts() {
  const auto tokens = std::ssize(request_.prompt);
  const int64_t piece = request_.piece > 0 ? request_.piece : context_;
  for (int64_t at = 0; at < context_;) {
    at = std::min(at + piece, context_);
    cuts_.insert(at);
  }
  cuts_.insert(tokens);
  if (request_.load_state.empty() && !request_.score_prompt && room_.prefixes.holds_any()) {
    MakePath();
    FindState();
  }
}

// As far as a row is left to read, which gives the logits.
void PromptReader::MakePath() {
  const std::span<const int32_t> prompt = request_.prompt;
  const auto tokens = std::ssize(prompt);
  int64_t at = 0;
  const auto step = [&](std::string_view reduction, int64_t end) {
    path_.push_back({reduction, prompt.subspan(at, end - at)});
    ends_.push_back(at = end);
  };
  for (const int64_t cut : cuts_) {
    if (cut <= context_ && cut < tokens) step(request_.options.reduction.impl().identity, cut);
  }
  const int64_t block = room_.prefixes.block();
  if (block == 0 || at < context_) return;
  while (at + block < tokens) step({}, at + block);
}

// States are kept at the last step, where the prompts of others go another way, after the context,
// and after its last whole piece, from which a longer one goes on.
void PromptReader::FindState() {
  if (path_.empty()) return;
  const PrefixCache::Found found = room_.prefixes.Find(path_);
  if (found.steps > 0) {
    room_.pool.CopyFrom(room_.prefixes.pool(), found.slot, sequence_.slot);
    sequence_.tokens = at_ = report_.reused = ends_[found.steps - 1];
    report_.rows_left = found.reading.rows_left;
    report_.realised = found.reading.realised;
  }
  const int64_t whole_pieces = request_.piece > 0 ? context_ / request_.piece * request_.piece : 0;
  const int64_t shared = found.shared > 0 ? ends_[found.shared - 1] : 0;
  for (const int64_t end : {shared, whole_pieces, std::min(context_, ends_.back()), ends_.back()}) {
    if (end > at_ && end <= ends_.back()) keep_.insert(end);
  }
  cuts_.insert(keep_.begin(), keep_.end());
}

void PromptReader::Begin() {
  const int64_t end = *cuts_.upper_bound(at_);
  const bool in_context = at_ < context_;
  pass_tokens_ = end - at_;
  charged_ = 0;
  reduction_ = in_context ? request_.options.reduction.For(pass_tokens_) : Reduction();
  options_ = room_.engine.Prefilling({.cancel = &cancel_, .progress = nullptr}, reduction_);
  options_.rows_per_chunk = room_.rows_per_chunk;
  const bool to_end = end == std::ssize(request_.prompt);
  WantRows want = to_end ? WantRows::kLast : WantRows::kNone;
  if (request_.score_prompt && !in_context) want = WantRows::kAll;
  if (request_.score_prompt && end == context_) want = WantRows::kLast;  // before the tail's first
  input_ = {std::span(request_.prompt).subspan(at_, pass_tokens_), &sequence_, want};
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
  if (at_ < context_) {  // over the context that is read, by its tokens
    const auto before = static_cast<double>(at_), now = static_cast<double>(pass_tokens_);
    report_.realised = at_ == 0
                           ? result.realised
                           : (report_.realised * before + result.realised * now) / (before + now);
  }
  at_ += pass_tokens_;
  if (keep_.contains(at_)) {
    const auto steps = std::ranges::upper_bound(ends_, at_) - ends_.begin();
    room_.prefixes.Add(std::span(path_).first(steps), {report_.rows_left, report_.realised},
                       room_.pool, sequence_.slot);
  }
  if (!done()) return Begin();
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
