// Reads token ids into states, all at once or reduced, and hands out the rows that callers want.
#ifndef PITH_MODEL_PREFILL_H_
#define PITH_MODEL_PREFILL_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "core/exec.h"
#include "core/tensor.h"
#include "model/model.h"
#include "model/state_pool.h"
#include "model/workspace.h"
#include "reduce/reduction.h"
#include "reduce/token_map.h"

namespace pith {

enum class WantRows : uint8_t { kNone, kLast, kAll };

// One sequence of a ragged batch: at least one id, all inside the vocabulary.
struct SequenceInput {
  std::span<const int32_t> ids;  // must outlive the pass
  Sequence* sequence = nullptr;  // continued; its slot is updated as the pass goes on
  WantRows want = WantRows::kLast;
};

struct PrefillOptions {
  const CompiledReduction* reduction = nullptr;  // null: every token through every layer
  int64_t rows_per_chunk = 1024;   // bounds the scratch; raised to ssd_chunk where it is less
  int64_t ssd_chunk = 64;          // rows per chunk of the SSD layer (Mamba-2)
  SiteObserver on_site = nullptr;  // sees each site of each sequence; costs a copy of the edges
  const std::atomic<bool>* cancel = nullptr;       // raised by the caller: throws kCancelled
  std::function<void(double)> progress = nullptr;  // called with the share that is done, 0 … 1
};

// A row that reached the end: the last layer's output for `position` of `sequence`.
struct OutputRow {
  int32_t sequence = 0;
  int32_t position = 0;  // index into the sequence's ids; predicts the token after it
};

// Receives normalised rows [rows.size(), d_model] in the backend's memory, ready for the head, in
// ascending order of (sequence, position) within a call; a sequence's rows come in order over the
// calls.
using RowSink = std::function<void(std::span<const OutputRow> rows, MatView<const float> normed)>;

// What became of the far rows of one sequence.
struct FarReport {
  FarRegion region;
  double work = 0;  // FLOPs that they cost in the layers that skim them
  // Per layer [n_heads · chunks], 1 where the write was made; empty in full layers and for Mamba-1.
  std::vector<std::vector<uint8_t>> needed;
};

struct PrefillResult {
  std::vector<Schedule> schedules;  // one per sequence; empty without a reduction
  std::vector<TokenMap> maps;       // likewise: which positions survived, and where others went
  double realised = 0;              // reduction over the batch, weighted by tokens
  std::vector<FarReport> far;       // under skim, one per sequence

  // Rows of sequence s that passed every layer, of its `tokens`.
  int64_t RowsLeft(size_t s, int64_t tokens) const {
    if (maps.empty()) return tokens;
    return maps[s].rows() - (far.empty() ? 0 : far[s].region.far);
  }
};

// The one forward pass: generation, scoring and evaluation all run it. A reduction acts on each
// sequence's ids as one context; a plan depends on nothing but its own sequence. Results do not
// depend on the batch's mix and order, on threads, on rows_per_chunk or on where the pass rested,
// to the last bit. In the last layer, rows that nobody wants only write state, which changes no bit
// of the others.
//
// Between two calls of Advance the pass rests: what it needs to go on is its own, so other passes
// and steps may use the same workspace and other slots of the same pool. A pass that threw, or that
// goes before it is done, leaves its slots half-read: whoever may cancel one runs it on a copy.
class PrefillPass {
 public:
  // Model, pool, workspace, inputs and what the options point to must outlive the pass.
  PrefillPass(const Model& model, const Exec& exec, StatePool& pool,
              std::span<const SequenceInput> batch, const PrefillOptions& options, Workspace& ws);
  ~PrefillPass();
  PrefillPass(PrefillPass&&) noexcept;
  PrefillPass& operator=(PrefillPass&&) noexcept;

  bool done() const;
  // Goes on until about the work of `rows` rows through the whole model is done, by whole chunks of
  // a group of layers: at least one.
  void Advance(int64_t rows, const RowSink& sink);
  PrefillResult TakeResult();  // of a pass that is done

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// A whole pass.
PrefillResult Prefill(const Model& model, const Exec& exec, StatePool& pool,
                      std::span<const SequenceInput> batch, const PrefillOptions& options,
                      Workspace& ws, const RowSink& sink);

}  // namespace pith

#endif  // PITH_MODEL_PREFILL_H_
