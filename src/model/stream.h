// The rows of a batch between groups of layers, and what a site does to them.
#ifndef PITH_MODEL_STREAM_H_
#define PITH_MODEL_STREAM_H_

#include <span>
#include <vector>

#include "core/exec.h"
#include "model/chunks.h"
#include "model/model.h"
#include "model/workspace.h"
#include "reduce/reduction.h"
#include "reduce/token_map.h"

namespace pith {

// Holds, for every sequence of a reduced batch, its rows at the border of two groups of layers and
// what the policy reads there. Costs one f32 [tokens, d_model] (two where rows merge), because a
// plan sees the whole context; what the policy matches on and what importance takes from the scan
// (ScanShape::row_width a token) come on top.
class Stream {
 public:
  // `ids`: one context a sequence. `on_site` may be null.
  Stream(const Model& model, const Exec& exec, const CompiledReduction& reduction,
         std::vector<std::span<const int32_t>> ids, const SiteObserver& on_site);

  // Current rows of each sequence.
  std::span<const int64_t> lengths() const { return lengths_; }
  const TokenMap& map(int64_t sequence) const { return maps_[sequence]; }
  const Schedule& schedule(int64_t sequence) const { return schedules_[sequence]; }

  // The first `count` stored rows of a sequence: x + h where the branches are not kept apart.
  MatView<const float> FirstRows(int64_t sequence, int64_t count) const {
    return x_.Rows(bases_[sequence], count);
  }
  // Rows that no group stored, straight from ws.x.
  void StoreEmbedding(const Workspace& ws, const Chunk& chunk);

  // Chunk scratch ← stored rows, and back, with what the policy reads of `layer`, which ran last.
  void Load(Workspace& ws, const Chunk& chunk) const;
  void Store(const Workspace& ws, const Chunk& chunk, int64_t layer);
  // Whether Load leaves h of the layer before apart from x, to be added by the next layer.
  bool keeps_branches() const { return needs_.branches; }

  // Plans and applies the site'th reduction (from 0) to every sequence.
  void Reduce(int site);

  // What the sites did. The stream is empty afterwards.
  std::vector<Schedule> TakeSchedules();
  std::vector<TokenMap> TakeMaps() { return std::move(maps_); }

 private:
  void Reserve();
  MatView<float> Features(int64_t layer, int64_t row, int64_t count) const;
  void StoreFeatures(const Workspace& ws, int64_t layer, int64_t row, int64_t base, int64_t count);
  void StoreScan(const Workspace& ws, int64_t layer, int64_t row, int64_t base, int64_t count);
  VecView<float> Scores(int64_t base, int64_t count) const;
  // Importance on the host, with what needs the whole context.
  void FetchImportance(int64_t sequence, int layer);
  SiteView ViewSite(int64_t sequence, int layer) const;
  Plan PlanSite(int64_t sequence, int site);

  const Model& model_;
  const Exec exec_;
  const Removal* removal_;  // null under skim
  SiteNeeds needs_;
  const SiteObserver& on_site_;
  std::vector<std::span<const int32_t>> ids_;
  std::vector<Schedule> schedules_;
  std::vector<TokenMap> maps_;
  std::vector<int64_t> lengths_;
  std::vector<int64_t> bases_;  // a sequence's first row below
  int64_t tokens_ = 0;
  DeviceMat<float> x_{MemoryUse::kStream};         // [tokens, d_model]; x + h where no rows merge
  DeviceMat<float> h_{MemoryUse::kStream};         // [tokens, d_model]; only where rows merge
  DeviceMat<float> features_{MemoryUse::kStream};  // [tokens, widest of the sites]
  DeviceMat<float> scores_{MemoryUse::kStream};    // [1, tokens] importance
  DeviceMat<float> scan_{MemoryUse::kStream};      // [tokens, ScanShape::row_width]
  std::vector<float> importance_;                  // of the sequence that is being planned
  std::vector<float> sizes_;                       // [tokens]
};

}  // namespace pith

#endif  // PITH_MODEL_STREAM_H_
