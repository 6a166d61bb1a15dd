// Token merging (Bolya et al. 2023): every other row merges into the most similar of the rest, by
// means weighted with the number of tokens that each row already stands for. Rows keep their order.
#include "core/error.h"
#include "reduce/edges.h"
#include "reduce/options.h"
#include "reduce/policies/policies.h"

namespace pith {
namespace {

class Tome : public ReductionPolicy {
 public:
  Tome(const SiteNeeds& needs, const MatchRange& range) : needs_(needs), range_(range) {}
  SiteNeeds Needs() const override { return needs_; }

  Plan MakePlan(const SiteView& site, int64_t remove) const override {
    PITH_CHECK(remove <= MaxRemovable(Limit::kHalf, site.rows, site.protected_tail));
    if (remove == 0) return {};
    std::vector<Edge> edges = AlternateEdges(site, 0, range_, remove);
    KeepMostSimilar(edges, remove);
    Plan plan = MergePlan(edges);
    plan.weights.assign(site.sizes.begin(), site.sizes.end());
    return plan;
  }

 private:
  SiteNeeds needs_;
  MatchRange range_;
};

}  // namespace

Method TomeMethod() {
  return {.name = "tome",
          .summary = "merges even rows into the most similar odd rows, by size-weighted means",
          .keys = JoinKeys({{MatchKey()}, RangeKeys()}),
          .how = RemovalMethod{.make = [](const ParamReader& params) -> PolicySetup {
            SiteNeeds needs{.branches = true, .sizes = true};
            ReadMatch(params, needs);
            return {.policy = std::make_shared<Tome>(needs, ReadRange(params))};
          }}};
}

}  // namespace pith
