// Unified token reduction: of the less important half of the rows, those most similar to a row of
// the other half are pruned or merged into it (Rethinking Token Reduction for State Space Models,
// arXiv 2410.14725, Eq. 5-7).
#include <algorithm>

#include "core/error.h"
#include "reduce/draw.h"
#include "reduce/edges.h"
#include "reduce/options.h"
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
    std::vector<Edge> edges = ImportanceEdges(site, options_.range, remove);
    KeepMostSimilar(edges, remove);
    SortForPruning(options_.prune, DrawKey(options_.seed, site), edges);
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

  std::optional<PairRule> Pairs() const override {
    if (options_.prune == PruneOrder::kRandom) return std::nullopt;
    return PairRule{options_.range, options_.prune, options_.q_hidden, options_.q_residual};
  }

 private:
  Options options_;
};

PolicySetup MakeUtrc(const ParamReader& params) {
  Options o;
  ReadImportance(params, Source::kSsm, o.needs);
  ReadMatch(params, o.needs);
  o.q_hidden = params.Number("q-hidden", 0, 1, 0.5);
  o.q_residual = params.Number("q-residual", 0, 1, 0);
  o.needs.branches = o.q_hidden < 1 || o.q_residual < 1;
  o.prune = static_cast<PruneOrder>(
      params.Choice("prune", {"least-important", "least-similar", "most-similar", "random"}, 0));
  o.range = ReadRange(params);
  o.seed = ReadSeed(params);
  return {.policy = std::make_shared<Utrc>(o)};
}

}  // namespace

Method UtrcMethod() {
  return {.name = "utrc",
          .summary = "prunes or merges unimportant rows that resemble important ones (the paper)",
          .keys = JoinKeys(
              {ImportanceKeys(),
               {MatchKey()},
               {{"q-hidden", "0.5", "share of the removed rows that h prunes; it merges the rest"},
                {"q-residual", "0", "the same for the residual stream"},
                {"prune", "least-important",
                 "pruned first: least-important, least-similar, most-similar, random"}},
               RangeKeys()}),
          .how = RemovalMethod{.make = &MakeUtrc}};
}

}  // namespace pith
