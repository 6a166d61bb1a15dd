#include <numeric>

#include "core/error.h"
#include "reduce/policies/policies.h"

namespace pith {
namespace {

class PrefixDrop : public ReductionPolicy {
 public:
  SiteNeeds Needs() const override { return {}; }
  Plan MakePlan(const SiteView& site, int64_t remove) const override {
    PITH_CHECK(remove <= MaxRemovable(Limit::kHalf, site.rows, site.protected_tail));
    std::vector<int32_t> rows(remove);
    std::iota(rows.begin(), rows.end(), 0);
    return PrunePlan(rows);
  }
};

}  // namespace

Method PrefixDropMethod() {
  return {.name = "prefix-drop",
          .summary = "drops the first rows at each site",
          .how = RemovalMethod{.make = [](const ParamReader&) -> PolicySetup {
            return {.policy = std::make_shared<PrefixDrop>()};
          }}};
}

}  // namespace pith
