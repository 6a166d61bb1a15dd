// One prompt that is read bit by bit for the scheduler: its reduced context, or the pieces of it,
// then what is read whole.
#ifndef PITH_ENGINE_PROMPT_READER_H_
#define PITH_ENGINE_PROMPT_READER_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "engine/impl.h"
#include "engine/prefix_cache.h"
#include "model/prefill.h"
#include "model/state_pool.h"
#include "model/workspace.h"
#include "pith/scheduler.h"
#include "score/label_scorer.h"

namespace pith {

// What the readers of one scheduler share.
struct ReadingRoom {
  const Engine::Impl& engine;
  StatePool& pool;
  Workspace& workspace;
  LabelScorer& labels;
  PrefixCache& prefixes;
  int64_t rows_per_chunk = 0;
};

class PromptReader {
 public:
  // Reads into `sequence`, a taken slot. All must outlive it. Throws kInvalidArgument where the
  // context is too short for its reduction.
  PromptReader(const ReadingRoom& room, const TextRequest& request, Sequence& sequence,
               const std::atomic<bool>& cancel);
  PromptReader(const PromptReader&) = delete;
  PromptReader& operator=(const PromptReader&) = delete;

  bool done() const { return at_ == std::ssize(request_.prompt); }
  // As PrefillPass::Advance. Returns about how many of the rows it took, at least 1. Throws
  // kCancelled.
  int64_t Advance(int64_t rows);

  // Of a prompt that is read.
  const PrefillReport& report() const { return report_; }
  std::span<const float> logits() const { return logits_; }  // after its last token
  std::vector<TokenLogprob> TakeLogprobs() { return std::move(logprobs_); }

 private:
  void FindCuts();
  void FindState();
  void MakePath();
  void Begin();
  void EndPass();
  void Take(std::span<const OutputRow> rows, MatView<const float> normed);
  void Score(std::span<const OutputRow> rows, MatView<const float> normed);

  const ReadingRoom& room_;
  const TextRequest& request_;
  Sequence& sequence_;
  const std::atomic<bool>& cancel_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  const int64_t context_;   // tokens that are reduced, which come first
  std::set<int64_t> cuts_;  // where passes end; the last one is the prompt's end
  // By what a state that is kept is found, and where each of its steps ends; empty: none is.
  std::vector<PrefixStep> path_;
  std::vector<int64_t> ends_;
  std::set<int64_t> keep_;   // the ends at which a state is kept
  int64_t at_ = 0;           // tokens of whole passes
  int64_t pass_tokens_ = 0;  // of this one
  int64_t charged_ = 0;      // of these, those that Advance has told of
  Reduction reduction_;      // of this pass
  PrefillOptions options_;
  SequenceInput input_;
  std::optional<PrefillPass> pass_;
  PrefillReport report_;
  std::vector<float> logits_;
  std::vector<TokenLogprob> logprobs_;
};

}  // namespace pith

#endif  // PITH_ENGINE_PROMPT_READER_H_
