#include "reduce/plan.h"

#include <algorithm>

#include "core/error.h"

namespace pith {

Plan PrunePlan(const std::vector<int32_t>& rows) {
  Plan plan;
  plan.removed.reserve(rows.size());
  for (int32_t row : rows) plan.removed.push_back({.row = row});
  return plan;
}

void CheckPlan(const Plan& plan, int64_t rows) {
  int64_t previous = -1;
  for (const Plan::Removed& r : plan.removed) {
    PITH_CHECK(r.row > previous && r.row < rows);
    previous = r.row;
  }
  for (const Plan::Removed& r : plan.removed) {
    PITH_CHECK((r.target >= 0) == (r.merge_hidden || r.merge_residual));
    if (r.target < 0) continue;
    PITH_CHECK(r.target < rows);
    PITH_CHECK(!std::ranges::binary_search(plan.removed, r.target, {}, &Plan::Removed::row));
  }
}

}  // namespace pith
