// The rows of a batch between groups of layers, and what a site does to them.
#ifndef PITH_MODEL_STREAM_H_
#define PITH_MODEL_STREAM_H_

#include <optional>
#include <span>
#include <vector>

#include "core/exec.h"
#include "model/chunks.h"
#include "model/model.h"
#include "model/pair_planner.h"
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
  // Waits for plans that are not on the host yet.
  const TokenMap& map(int64_t sequence);
  const Schedule& schedule(int64_t sequence) const { return schedules_[sequence]; }

  // The first `count` stored rows of a sequence: x + h where the branches are not kept apart.
  MatView<const float> FirstRows(int64_t sequence, int64_t count) const {
    return x_.Rows(bases_[sequence], count);
  }
  // Rows that no group stored, straight from ws.x.
  void StoreEmbedding(const Workspace& ws, const Chunk& chunk);

  // ws.x ← x + h of the stored rows.
  void Load(Workspace& ws, const Chunk& chunk) const;
  // Where the layer before Store may leave x, so that Store need not bring it; empty: in ws.x. Once
  // the chunk was loaded, it may be written.
  MatView<float> ResidualOf(const Chunk& chunk) const;
  // Where the layer before Store may leave the importance of its y; empty: Store asks for y.
  VecView<float> ImportanceOf(const Chunk& chunk) const;
  // Whether Store takes the hidden branch compact.
  bool takes_compact() const { return needs_.branches; }
  // What Store reads of the layer before it.
  const SiteNeeds& needs() const { return needs_; }
  // Stored rows ← chunk scratch, with what the policy reads of `layer`, which ran last. `x_stored`:
  // x is where ResidualOf says.
  void Store(const Workspace& ws, const Chunk& chunk, int64_t layer, bool x_stored);

  // Plans and applies the site'th reduction (from 0) to every sequence.
  void Reduce(int site);

  // Waits for the plans that are not on the host yet and brings them.
  void FetchPlans() {
    if (planner_) planner_->Fetch();
  }
  // What the sites did. The stream is empty afterwards.
  std::vector<Schedule> TakeSchedules();
  std::vector<TokenMap> TakeMaps();

 private:
  // Rows of a chunk that are stored one after the other.
  struct Run {
    int64_t row = 0;   // the first, in the chunk
    int64_t base = 0;  // and where it is stored
    int64_t count = 0;
  };
  std::vector<Run> RunsOf(const Chunk& chunk) const;
  bool PlansOnDevice() const;
  void Reserve();
  // Whether matching reads h, which is stored anyway.
  bool MatchesOnStoredHidden() const {
    return needs_.branches && needs_.match_on == Source::kHidden;
  }
  MatView<const float> Features(int64_t layer, int64_t base, int64_t count) const;
  void StoreBranches(const Workspace& ws, const Run& run, bool x_stored);
  void StoreImportance(const Workspace& ws, const Run& run, int64_t layer);
  void StoreFeatures(const Workspace& ws, const Run& run, int64_t layer);
  void StoreScan(const Workspace& ws, const Run& run, int64_t layer);
  // h of the rows that were stored last.
  MatView<const float> Hidden(const Workspace& ws, const Run& run) const;
  VecView<float> Scores(int64_t base, int64_t count) const;
  // Importance that needs the whole context.
  void ScoreContext(int64_t sequence, int layer);
  void FetchImportance(int64_t sequence, int layer);
  SiteView ViewSite(int64_t sequence, int layer) const;
  Plan PlanSite(int64_t sequence, int site);
  void ReduceOnDevice(int site);

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
  // Where the backend plans: rows that stay are taken from where they lay as they are loaded, and
  // stored one sequence after the other. Rows never move down, so what a chunk stores overwrites
  // none that a later chunk takes.
  std::optional<PairPlanner> planner_;
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
