#include "engine/prompt_reader.h"

#include <algorithm>

#include "core/error.h"

namespace pith {
PromptReader::PromptReader(const ReadingRoom& room, const TextRequest& request, Sequence& sequence,
                           const std::atomic<bool>& cancel)
    : room_(room),
      request_(request),
      sequence_(sequence),
      cancel_(cancel),
      reduces_(!request.options.reduction.none()),
      logits_(room.engine.model.config().vocab_size) {
  report_.tokens = std::ssize(request.prompt);
  FindCuts();
  Begin();
}

// A reduced context and its tail are a pass each. Without a reduction, cuts lie where a state is
// kept: the last one that leaves a row to read, and the one where the prompts of others go another
// way. A prompt that is scored needs all of its rows, and one that goes on from a loaded state is
// the beginning of no text.
void PromptReader::FindCuts() {
  const auto tokens = std::ssize(request_.prompt);
  PrefixCache& prefixes = room_.prefixes;
  if (reduces_) {
    if (const int64_t context = tokens - request_.whole_tail; context > 0) cuts_ = {context};
  } else if (sequence_.tokens == 0 && !request_.score_prompt && prefixes.holds_any()) {
    const int64_t last = (tokens - 1) / prefixes.block() * prefixes.block();
    const PrefixCache::Found found = prefixes.Find(request_.prompt, last);
    if (found.tokens > 0) {
      room_.pool.CopyFrom(prefixes.pool(), found.slot, sequence_.slot);
      sequence_.tokens = at_ = report_.reused = report_.rows_left = found.tokens;
    }
    for (const int64_t cut : {found.shared, last}) {
      if (cut > (cuts_.empty() ? at_ : cuts_.back())) cuts_.push_back(cut);
    }
  }
  if (cuts_.empty() || cuts_.back() < tokens) cuts_.push_back(tokens);
}

void PromptReader::Begin() {
  const int64_t end = *std::ranges::upper_bound(cuts_, at_);
  const bool in_context =
      reduces_ && at_ == 0 && end <= std::ssize(request_.prompt) - request_.whole_tail;
  pass_tokens_ = end - at_;
  charged_ = 0;
  reduction_ = in_context ? request_.options.reduction.For(pass_tokens_) : Reduction();
  options_ = room_.engine.Prefilling({.cancel = &cancel_, .progress = nullptr}, reduction_);
  options_.rows_per_chunk = room_.rows_per_chunk;
  const bool all = request_.score_prompt && !in_context;
  input_ = {std::span(request_.prompt).subspan(at_, pass_tokens_), &sequence_,
            all ? WantRows::kAll : WantRows::kLast};
  if (!reduces_ && end < std::ssize(request_.prompt)) input_.want = WantRows::kNone;
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
    if (!reduces_) {
      room_.prefixes.Add(std::span(request_.prompt).first(at_), room_.pool, sequence_.slot);
    }
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
