// What the published code of the UTRC paper does with its default metric. Its channel-wise sort
// makes the first even rows the sources of the best edges and row 1 the target of every edge,
// whatever the activations are (tests/reduce/published_test.cc derives it). Its "hybrid" keeps, per
// channel, the half of the values with the largest sign and size.
#include "core/error.h"
#include "reduce/policies/policies.h"

namespace pith {
namespace {

enum class Strategy { kHybrid, kMerge, kPrune };

class UtrcPublished : public ReductionPolicy {
 public:
  UtrcPublished(Strategy hidden, Strategy residual) : hidden_(hidden), residual_(residual) {}

  SiteNeeds Needs() const override {
    return {.branches = hidden_ != Strategy::kPrune || residual_ != Strategy::kPrune};
  }

  Plan MakePlan(const SiteView& site, int64_t remove) const override {
    PITH_CHECK(remove <= MaxRemovable(Limit::kHalf, site.rows, site.protected_tail));
    if (remove == 0) return {};
    const bool hidden = hidden_ != Strategy::kPrune, residual = residual_ != Strategy::kPrune;
    Plan plan;
    for (int64_t i = 0; i < remove; ++i) {
      plan.removed.push_back({.row = static_cast<int32_t>(2 * i),
                              .target = hidden || residual ? 1 : -1,
                              .merge_hidden = hidden,
                              .merge_residual = residual});
    }
    if (hidden_ == Strategy::kHybrid) plan.hidden_rule = MergeRule::kTopChannels;
    if (residual_ == Strategy::kHybrid) plan.residual_rule = MergeRule::kTopChannels;
    return plan;
  }

 private:
  Strategy hidden_, residual_;
};

PolicySetup MakeUtrcPublished(const ParamReader& params) {
  const std::vector<std::string_view> names = {"hybrid", "merge", "prune"};
  return {.policy = std::make_shared<UtrcPublished>(
              static_cast<Strategy>(params.Choice("hidden", names, 0)),
              static_cast<Strategy>(params.Choice("residual", names, 1)))};
}

}  // namespace

Method UtrcPublishedMethod() {
  return {.name = "utrc-published",
          .summary = "merges rows 0, 2, 4, … into row 1, as the paper's published code does",
          .keys = {{"hidden", "hybrid",
                    "what h does with the removed rows: hybrid (half of the values, by channel), "
                    "merge or prune"},
                   {"residual", "merge", "the same for the residual stream"}},
          .how = RemovalMethod{.make = &MakeUtrcPublished}};
}

}  // namespace pith
