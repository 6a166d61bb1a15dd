// What Engine and Session keep behind their public faces.
#ifndef PITH_ENGINE_IMPL_H_
#define PITH_ENGINE_IMPL_H_

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "core/exec.h"
#include "model/model.h"
#include "model/prefill.h"
#include "model/state_pool.h"
#include "model/workspace.h"
#include "pith/engine.h"
#include "reduce/reduction.h"
#include "tokenize/tokenizer.h"

namespace pith {

struct BenchPart;  // engine/bench_grid.h

struct Engine::Impl {
  Model model;
  std::optional<Tokenizer> tokenizer;
  Exec exec;
  int64_t rows_per_chunk = 0;
  int64_t ssd_chunk = 0;
  std::vector<int32_t> end_of_text;
  ModelInfo info;

  const Tokenizer& RequireTokenizer() const;
  std::vector<ScoreResult> Score(std::span<const ScoreItem> items, const ScoreOptions& options,
                                 ScoreStats* stats) const;
  // Under `auto`: each context reduced as its own length asks.
  std::vector<ScoreResult> ScoreByLength(std::span<const ScoreItem> items,
                                         const ScoreOptions& options, ScoreStats* stats) const;
  // The part's share of each case; rows of all cases, those without a timed repeat included.
  BenchReport Measure(std::span<const BenchCase> cases, const BenchOptions& options,
                      const BenchPart& part) const;
  // `reduction`, which may not be by_length(), must outlive the result. Throws kInvalidArgument for
  // another model's.
  PrefillOptions Prefilling(const RunControl& control, const Reduction& reduction) const;
  // The logits [vocab] that follow one normalised row, on the host.
  void ReadLogits(MatView<const float> normed, std::span<float> to) const;
};

struct Session::Impl {
  explicit Impl(std::shared_ptr<const Engine::Impl> engine);
  Impl(const Impl& other);  // forks the text

  std::shared_ptr<const Engine::Impl> engine;
  StatePool pool;     // two slots: the text's, and one to read ahead in
  Sequence sequence;  // the text
  int32_t spare = 0;  // the other slot
  Workspace workspace;
  std::vector<float> logits;  // after the last token read; empty before the first
  std::vector<int32_t> read;  // tokens read since the session was made or loaded
};

}  // namespace pith

#endif  // PITH_ENGINE_IMPL_H_
