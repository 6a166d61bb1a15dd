// The control that any reduction must beat: a shorter prompt.
#include <numeric>

#include "core/error.h"
#include "reduce/policies/policies.h"

namespace pith {
namespace {

class Truncate : public ReductionPolicy {
 public:
  SiteNeeds Needs() const override { return {}; }
  Plan MakePlan(const SiteView& site, int64_t remove) const override {
    PITH_CHECK(remove <= MaxRemovable(Limit::kAllBut, site.rows, site.protected_tail));
    std::vector<int32_t> rows(remove);
    std::iota(rows.begin(), rows.end(), 0);
    return PrunePlan(rows);
  }
};

}  // namespace

Method TruncateMethod() {
  return {.name = "truncate",
          .summary = "drops the first tokens of the context before the first layer",
          .how = RemovalMethod{.limit = Limit::kAllBut,
                               .before_layers = true,
                               .make = [](const ParamReader&) -> PolicySetup {
                                 return {.policy = std::make_shared<Truncate>()};
                               }}};
}

}  // namespace pith
