#include "core/error.h"
#include "reduce/policies/policies.h"

namespace pith {
namespace {

// Of M unprotected rows, R go: the middles floor((2i + 1) M / 2R) of R equal parts.
class Stride : public ReductionPolicy {
 public:
  SiteNeeds Needs() const override { return {}; }
  Plan MakePlan(const SiteView& site, int64_t remove) const override {
    PITH_CHECK(remove <= MaxRemovable(Limit::kHalf, site.rows, site.protected_tail));
    const int64_t eligible = site.rows - site.protected_tail;
    std::vector<int32_t> rows(remove);
    for (int64_t i = 0; i < remove; ++i) {
      rows[i] = static_cast<int32_t>((2 * i + 1) * eligible / (2 * remove));
    }
    return PrunePlan(rows);
  }
};

}  // namespace

Method StrideMethod() {
  return {.name = "stride",
          .summary = "drops evenly spaced rows at each site",
          .how = RemovalMethod{.make = [](const ParamReader&) -> PolicySetup {
            return {.policy = std::make_shared<Stride>()};
          }}};
}

}  // namespace pith
