// What the published UTRC code removes, whatever the activations are: with the clipped metric, its
// channel-wise sort makes the first even rows the sources of the best edges. The one row into which
// it merges them is itself removed at the next site, so nothing is merged here.
#include "core/error.h"
#include "reduce/policies/policies.h"

namespace pith {
namespace {

class PrefixThin : public ReductionPolicy {
 public:
  SiteNeeds Needs() const override { return {}; }
  Plan MakePlan(const SiteView& site, int64_t remove) const override {
    PITH_CHECK(remove <= MaxRemovable(Limit::kHalf, site.rows, site.protected_tail));
    std::vector<int32_t> rows(remove);
    for (int64_t i = 0; i < remove; ++i) rows[i] = static_cast<int32_t>(2 * i);
    return PrunePlan(rows);
  }
};

}  // namespace

Method PrefixThinMethod() {
  return {.name = "prefix-thin",
          .summary = "drops rows 0, 2, 4, … at each site, as the published UTRC code does",
          .how = RemovalMethod{.make = [](const ParamReader&) -> PolicySetup {
            return {.policy = std::make_shared<PrefixThin>()};
          }}};
}

}  // namespace pith
