#include "model/pair_planner.h"

#include <utility>

#include "core/error.h"
#include "reduce/edges.h"

namespace pith {

void PairPlanner::Plan(int site, std::vector<PairSequence> sequences,
                       VecView<const float> importance, MatView<const float> features) {
  int64_t removed = 0;
  for (PairSequence& sequence : sequences) {
    sequence.pruned_hidden = PrunedEdges(rule_.q_hidden, sequence.remove);
    sequence.pruned_residual = PrunedEdges(rule_.q_residual, sequence.remove);
    removed += sequence.remove;
  }
  Site& last = sites_.emplace_back();
  last.site = site;
  last.sequences = std::move(sequences);
  last.planned.Resize(exec_, 1, removed);
  kept_.Resize(exec_, 1, features.rows - removed);
  PlanPairs(exec_, {.range = rule_.range,
                    .prune = rule_.prune,
                    .sequences = last.sequences,
                    .importance = importance,
                    .features = features,
                    .removed = {last.planned.view().data, removed},
                    .kept = {kept_.view().data, kept_.cols()}});
}

void PairPlanner::Merge(Branch branch, MatView<float> rows) const {
  PITH_CHECK(!sites_.empty() && !sites_.back().fetched);
  const Site& last = sites_.back();
  MergePairs(exec_, {.sequences = last.sequences,
                     .removed = {last.planned.view().data, last.planned.cols()},
                     .branch = branch,
                     .rows = rows});
}

void PairPlanner::Fetch() {
  for (Site& site : sites_) {
    if (site.fetched) continue;
    site.removed.resize(site.planned.cols());
    exec_.backend->Download(
        exec_.queue, site.planned.view().data, site.removed.data(),
        static_cast<int64_t>(site.removed.size() * sizeof(pith::Plan::Removed)));
    site.planned = DeviceMat<pith::Plan::Removed>(MemoryUse::kStream);
    site.fetched = true;
  }
}

void PairPlanner::ApplyTo(std::vector<TokenMap>& maps) {
  Fetch();
  for (const Site& site : sites_) {
    auto next = site.removed.begin();
    for (size_t s = 0; s < maps.size(); ++s) {
      pith::Plan plan;
      plan.removed.assign(next, next + site.sequences[s].remove);
      next += site.sequences[s].remove;
      maps[s].Apply(plan, site.site);
    }
  }
  sites_.clear();
}

}  // namespace pith
