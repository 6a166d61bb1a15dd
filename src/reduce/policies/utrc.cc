// Unified token reduction: of the less important half of the rows, those most similar to a row of
// the other half are pruned or merged into it (Rethinking Token Reduction for State Space Models,
// arXiv 2410.14725, Eq. 5-7).
#include <algorithm>
#include <limits>

#include "core/error.h"
#include "reduce/draw.h"
#include "reduce/edges.h"
#include "reduce/policies/policies.h"

namespace pith {
namespace {

struct Options {
  SiteNeeds needs;
  double q_hidden, q_residual;
  PruneOrder prune;
  MatchRange range;
  uint64_t seed;
};

class Utrc : public ReductionPolicy {
 public:
  explicit Utrc(const Options& options) : options_(options) {}
  SiteNeeds Needs() const override { return options_.needs; }

  Plan MakePlan(const SiteView& site, int64_t remove) const override {
    PITH_CHECK(remove <= MaxRemovable(Limit::kHalf, site.rows, site.protected_tail));
    if (remove == 0) return {};
    std::vector<Edge> edges = ImportanceEdges(site, options_.range);
    KeepMostSimilar(edges, remove);
    SortForPruning(options_.prune, DrawKey(options_.seed, site.layer, site.rows), edges);
    const int64_t pruned_hidden = PrunedEdges(options_.q_hidden, remove);
    const int64_t pruned_residual = PrunedEdges(options_.q_residual, remove);
    Plan plan;
    for (int64_t i = 0; i < remove; ++i) {
      const bool target = edges[i].match.target >= 0;
      const bool hidden = target && i >= pruned_hidden;
      const bool residual = target && i >= pruned_residual;
      plan.removed.push_back({.row = edges[i].row,
                              .target = hidden || residual ? edges[i].match.target : -1,
                              .merge_hidden = hidden,
                              .merge_residual = residual});
    }
    std::ranges::sort(plan.removed, {}, &Plan::Removed::row);
    return plan;
  }

 private:
  Options options_;
};

std::shared_ptr<const ReductionPolicy> MakeUtrc(const ParamReader& params) {
  constexpr Source kFrom[] = {Source::kSsm, Source::kGated, Source::kHidden};
  constexpr Source kMatch[] = {Source::kHidden, Source::kSsm, Source::kCombined};
  Options o;
  o.needs.importance_from = kFrom[params.Choice("from", {"ssm", "gated", "block"}, 0)];
  o.needs.importance =
      static_cast<ImportanceKind>(params.Choice("importance", {"clip", "noclip", "l1", "l2"}, 0));
  o.needs.match_on = kMatch[params.Choice("match", {"h", "y", "T"}, 0)];
  o.q_hidden = params.Number("q-hidden", 0, 1, 0.5);
  o.q_residual = params.Number("q-residual", 0, 1, 0);
  o.needs.branches = o.q_hidden < 1 || o.q_residual < 1;
  o.prune = static_cast<PruneOrder>(
      params.Choice("prune", {"least-important", "least-similar", "most-similar", "random"}, 0));
  o.range.forward_only = params.Choice("causal", {"off", "content"}, 0) == 1;
  o.range.window = params.Int("window", 0, std::numeric_limits<int32_t>::max(), 0);
  o.seed = params.Int("seed", 0, std::numeric_limits<int64_t>::max(), 0);
  return std::make_shared<Utrc>(o);
}

}  // namespace

Method UtrcMethod() {
  return {
      .name = "utrc",
      .summary = "prunes or merges unimportant rows that resemble important ones (the paper)",
      .keys = {{"importance", "clip",
                "mean of max(0, y) (clip), y (noclip), |y| (l1) or √mean y² (l2)"},
               {"from", "ssm", "y: scan output (ssm), out_proj's input (gated) or output (block)"},
               {"match", "h", "cosine of block output (h), scan output (y) or h + residual (T)"},
               {"q-hidden", "0.5", "share of the removed rows that h prunes; it merges the rest"},
               {"q-residual", "0", "the same for the residual stream"},
               {"prune", "least-important",
                "pruned first: least-important, least-similar, most-similar, random"},
               {"causal", "off", "content: merge only into later rows"},
               {"window", "0", "merge only into rows at most so far away; 0: any distance"}},
      .make = &MakeUtrc};
}

}  // namespace pith
