// Keeps the most important rows (Liang et al. 2022, "Not all patches are what you need"), and two
// variants: with the fused token of the original, and inverted as in the published UTRC code.
#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "core/error.h"
#include "reduce/edges.h"
#include "reduce/options.h"
#include "reduce/policies/policies.h"

namespace pith {
namespace {

enum class Mode { kFixed, kOriginal, kPublished };

// The last of `dropped` becomes the mean of them all, weighted by importance.
Plan FusePlan(const SiteView& site, const std::vector<int32_t>& dropped) {
  const auto weight = [&](int32_t row) {
    const float s = site.importance[row];
    return std::isfinite(s) && s > 0 ? s : 0.0f;
  };
  float largest = 0;
  for (int32_t row : dropped) largest = std::max(largest, weight(row));
  Plan plan;
  plan.weights.assign(site.rows, 1);
  for (int32_t row : dropped) plan.weights[row] = largest > 0 ? weight(row) / largest : 1;
  for (size_t i = 0; i + 1 < dropped.size(); ++i) {
    plan.removed.push_back({dropped[i], dropped.back(), true, true});
  }
  return plan;
}

class Evit : public ReductionPolicy {
 public:
  Evit(Mode mode, const SiteNeeds& needs) : mode_(mode), needs_(needs) {}
  SiteNeeds Needs() const override { return needs_; }

  Plan MakePlan(const SiteView& site, int64_t remove) const override {
    PITH_CHECK(remove <= MaxRemovable(Limit::kHalf, site.rows, site.protected_tail));
    if (remove == 0) return {};
    std::vector<int32_t> order(site.rows - site.protected_tail);
    std::iota(order.begin(), order.end(), 0);
    const auto rank = [&](int32_t row) { return RankOf(site, row); };
    if (mode_ == Mode::kPublished) {
      std::ranges::stable_sort(order, std::greater<>(), rank);
    } else {
      std::ranges::stable_sort(order, {}, rank);
    }
    order.resize(remove + (mode_ == Mode::kOriginal ? 1 : 0));  // at most all: remove ≤ half
    std::ranges::sort(order);
    return mode_ == Mode::kOriginal ? FusePlan(site, order) : PrunePlan(order);
  }

 private:
  Mode mode_;
  SiteNeeds needs_;
};

PolicySetup MakeEvit(const ParamReader& params) {
  const Mode mode = static_cast<Mode>(params.Choice("mode", {"fixed", "original", "published"}, 0));
  SiteNeeds needs;
  ReadImportance(params, mode == Mode::kPublished ? Source::kHidden : Source::kSsm, needs);
  needs.branches = mode == Mode::kOriginal;
  return {.policy = std::make_shared<Evit>(mode, needs),
          .published_extra = mode == Mode::kPublished ? 1 : 0};
}

}  // namespace

Method EvitMethod() {
  return {.name = "evit",
          .summary = "drops the least important rows",
          .keys = JoinKeys({{{"mode", "fixed",
                              "original: fuses what it drops into one row; published: drops the "
                              "most important rows, from=block"}},
                            ImportanceKeys()}),
          .how = RemovalMethod{.make = &MakeEvit}};
}

}  // namespace pith
