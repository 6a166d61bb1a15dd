#include <algorithm>

#include "core/error.h"
#include "reduce/draw.h"
#include "reduce/options.h"
#include "reduce/policies/policies.h"

namespace pith {
namespace {

// The draw depends on seed, layer, block and number of rows alone.
class Random : public ReductionPolicy {
 public:
  explicit Random(uint64_t seed) : seed_(seed) {}
  SiteNeeds Needs() const override { return {}; }
  Plan MakePlan(const SiteView& site, int64_t remove) const override {
    PITH_CHECK(remove <= MaxRemovable(Limit::kHalf, site.rows, site.protected_tail));
    if (remove == 0) return {};
    std::vector<int32_t> rows = Draw(DrawKey(seed_, site), site.rows - site.protected_tail, remove);
    std::ranges::sort(rows);
    return PrunePlan(rows);
  }

 private:
  uint64_t seed_;
};

}  // namespace

Method RandomMethod() {
  return {.name = "random",
          .summary = "drops rows drawn uniformly at each site",
          .how = RemovalMethod{.make = [](const ParamReader& params) -> PolicySetup {
            return {.policy = std::make_shared<Random>(ReadSeed(params))};
          }}};
}

}  // namespace pith
