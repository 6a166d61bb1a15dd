#include "reduce/ltmp.h"

#include <algorithm>

#include "core/error.h"
#include "reduce/options.h"

namespace pith {

LtmpOptions ReadLtmpOptions(const ParamReader& params) {
  LtmpOptions options{.needs = {.branches = true, .sizes = true}, .range = ReadRange(params)};
  ReadImportance(params, Source::kSsm, options.needs);
  ReadMatch(params, options.needs);
  return options;
}

std::vector<Edge> EdgesAbove(const std::vector<Edge>& edges, double threshold) {
  std::vector<Edge> above;
  for (const Edge& edge : edges) {
    if (edge.match.target >= 0 && edge.match.similarity > threshold) above.push_back(edge);
  }
  return above;
}

std::vector<Survivor> RankSurvivors(const SiteView& site, const std::vector<Edge>& merged) {
  const int64_t eligible = site.rows - site.protected_tail;
  std::vector<float> importance;
  for (int32_t row = 0; row < eligible; ++row) importance.push_back(RankOf(site, row));
  std::vector<bool> gone(eligible);
  for (const Edge& edge : merged) {
    gone[edge.row] = true;
    float& target = importance[edge.match.target];
    target = std::max(target, edge.importance);
  }
  std::vector<Survivor> survivors;
  for (int32_t row = 0; row < eligible; ++row) {
    if (!gone[row]) survivors.push_back({row, importance[row]});
  }
  std::ranges::stable_sort(survivors, {}, &Survivor::importance);
  return survivors;
}

Plan MergeThenPrune(const SiteView& site, const std::vector<Edge>& merged,
                    const std::vector<Survivor>& survivors, int64_t prune) {
  Plan plan = MergePlan(merged);
  std::vector<bool> pruned(site.rows);
  for (int64_t i = 0; i < prune; ++i) pruned[survivors[i].row] = true;
  for (Plan::Removed& r : plan.removed) {
    if (pruned[r.target]) r = {.row = r.row};
  }
  for (int64_t i = 0; i < prune; ++i) plan.removed.push_back({.row = survivors[i].row});
  std::ranges::sort(plan.removed, {}, &Plan::Removed::row);
  plan.weights.assign(site.sizes.begin(), site.sizes.end());
  return plan;
}

Plan PlanByThreshold(const SiteView& site, const LtmpOptions& options,
                     const LtmpThreshold& threshold) {
  const std::vector<Edge> merged =
      EdgesAbove(AlternateEdges(site, 0, options.range), threshold.merge);
  const std::vector<Survivor> survivors = RankSurvivors(site, merged);
  int64_t prune = 0;
  for (const Survivor& s : survivors) prune += s.importance <= threshold.prune;
  const auto most = static_cast<int64_t>(survivors.size()) - (site.protected_tail == 0 ? 1 : 0);
  return MergeThenPrune(site, merged, survivors, std::min(prune, std::max<int64_t>(0, most)));
}

}  // namespace pith
