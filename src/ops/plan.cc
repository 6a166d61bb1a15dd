#include "ops/plan.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace pith {
namespace {

void CheckWeights(const Plan& plan, int64_t rows) {
  if (plan.weights.empty()) return;
  PITH_CHECK(static_cast<int64_t>(plan.weights.size()) == rows);
  for (float weight : plan.weights) PITH_CHECK(weight >= 0 && std::isfinite(weight));
  std::vector<float> hidden = plan.weights, residual = plan.weights;
  for (const Plan::Removed& r : plan.removed) {
    if (r.merge_hidden) hidden[r.target] += plan.weights[r.row];
    if (r.merge_residual) residual[r.target] += plan.weights[r.row];
  }
  for (const Plan::Removed& r : plan.removed) {
    PITH_CHECK(!r.merge_hidden || (hidden[r.target] > 0 && std::isfinite(hidden[r.target])));
    PITH_CHECK(!r.merge_residual || (residual[r.target] > 0 && std::isfinite(residual[r.target])));
  }
}

}  // namespace

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
  CheckWeights(plan, rows);
}

void ApplyPlanToSizes(const Plan& plan, std::span<float> sizes) {
  CheckPlan(plan, static_cast<int64_t>(sizes.size()));
  for (const Plan::Removed& r : plan.removed) {
    if (r.target >= 0) sizes[r.target] += sizes[r.row];
  }
  size_t kept = 0;
  auto next = plan.removed.begin();
  for (size_t row = 0; row < sizes.size(); ++row) {
    if (next != plan.removed.end() && next->row == static_cast<int64_t>(row)) {
      ++next;
    } else {
      sizes[kept++] = sizes[row];
    }
  }
}

}  // namespace pith
