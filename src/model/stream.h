// The rows of a batch between groups of layers, and what a site does to them.
#ifndef PITH_MODEL_STREAM_H_
#define PITH_MODEL_STREAM_H_

#include <span>
#include <vector>

#include "core/exec.h"
#include "model/chunks.h"
#include "model/prefill.h"
#include "model/workspace.h"
#include "reduce/reduction.h"
#include "reduce/token_map.h"

namespace pith {

// Holds, for every sequence of a reduced batch, its rows at the border of two groups of layers and
// the activations that the policy reads there. Costs one f32 [tokens, d_model] (two where rows
// merge), because a plan sees the whole context; what the policy matches on and what importance
// takes from the scan (ScanShape::row_width a token) come on top.
class Stream {
 public:
  // `model` is read for importance from the scan only.
  Stream(const Model& model, const CompiledReduction& reduction,
         std::span<const SequenceInput> batch, Workspace& ws, const SiteObserver& on_site);

  // Current rows of each sequence.
  std::span<const int64_t> lengths() const { return lengths_; }
  const TokenMap& map(int64_t sequence) const { return maps_[sequence]; }
  const Schedule& schedule(int64_t sequence) const { return schedules_[sequence]; }

  // The first `count` stored rows of a sequence: T = x + h where the branches are not kept apart.
  MatView<const float> FirstRows(int64_t sequence, int64_t count) const {
    return ws_.stream_x.view().Rows(bases_[sequence], count);
  }
  // Rows that no group stored, straight from ws.x.
  void StoreEmbedding(const Chunk& chunk);

  // Chunk scratch ← stored rows, and back, with what the policy needs of the block just run.
  void Load(const Chunk& chunk) const;
  void Store(const Exec& exec, const Chunk& chunk);
  // Whether Load leaves h of the block before apart from x, to be added by the next block.
  bool keeps_branches() const { return needs_.branches; }

  // Plans and applies the site'th reduction (from 0) to every sequence.
  void Reduce(const Exec& exec, int site);

  PrefillResult TakeResult();

 private:
  void StoreFeatures(const Piece& piece, int64_t row);
  void StoreScan(const Exec& exec, const Piece& piece, int64_t row);
  // Importance that needs the whole context, ahead of the plan.
  void ScoreSequence(const Exec& exec, int64_t sequence, int layer);
  SiteView ViewSite(const Exec& exec, int64_t sequence, int layer) const;
  Plan PlanSite(const Exec& exec, int64_t sequence, int site);

  const Model& model_;
  const ModelConfig& config_;
  const Removal* removal_;  // null under skim
  SiteNeeds needs_;
  const SiteObserver& on_site_;
  Workspace& ws_;
  std::span<const SequenceInput> batch_;
  std::vector<Schedule> schedules_;
  std::vector<TokenMap> maps_;
  std::vector<int64_t> lengths_;
  std::vector<int64_t> bases_;  // a sequence's first row in the workspace's streams
  int64_t tokens_ = 0;
  size_t next_site_ = 0;      // the one that stored rows stand at
  MatOwner<float> scan_;      // [tokens, ScanShape::row_width]
  std::vector<float> sizes_;  // [tokens]
};

}  // namespace pith

#endif  // PITH_MODEL_STREAM_H_
