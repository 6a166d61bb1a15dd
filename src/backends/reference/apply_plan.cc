#include "ops/apply_plan.h"

#include <algorithm>
#include <vector>

#include "backends/reference/kernels.h"

namespace pith::reference {
namespace {

double WeightOf(const Plan& plan, int64_t row) {
  return plan.weights.empty() ? 1 : plan.weights[row];
}

// What `target` becomes in column c when the rows of `members` merge into it.
double Merged(const Plan& plan, MergeRule rule, const std::vector<int32_t>& members, int64_t target,
              int64_t c, const MatView<float>& rows) {
  if (rule == MergeRule::kMean) {
    double total = WeightOf(plan, target);
    double sum = total * rows.Row(target)[c];
    for (const int32_t row : members) {
      total += WeightOf(plan, row);
      sum += WeightOf(plan, row) * rows.Row(row)[c];
    }
    return sum / total;
  }
  std::vector<float> values;
  for (const int32_t row : members) values.push_back(rows.Row(row)[c]);
  // Largest first; NaN last.
  std::ranges::sort(values,
                    [](float a, float b) { return a > b || (std::isnan(b) && !std::isnan(a)); });
  const size_t top = values.size() / 2;
  double sum = rows.Row(target)[c];
  for (size_t i = 0; i < top; ++i) sum += values[i];
  return sum / static_cast<double>(top + 1);
}

}  // namespace

void ApplyPlan(const Exec& /*exec*/, const Plan& plan, Branch branch, MatView<float> rows) {
  const MergeRule rule = branch == Branch::kHidden ? plan.hidden_rule : plan.residual_rule;
  std::vector<std::vector<int32_t>> members(rows.rows);
  std::vector<bool> removed(rows.rows, false);
  for (const Plan::Removed& r : plan.removed) {
    removed[r.row] = true;
    if (r.MergesIn(branch == Branch::kHidden)) members[r.target].push_back(r.row);
  }
  int64_t kept = 0;
  for (int64_t row = 0; row < rows.rows; ++row) {
    if (members[row].empty()) continue;
    // Members are removed rows and never targets, so they still hold what they came with.
    for (int64_t c = 0; c < rows.cols; ++c) {
      rows.Row(row)[c] = static_cast<float>(Merged(plan, rule, members[row], row, c, rows));
    }
  }
  for (int64_t row = 0; row < rows.rows; ++row) {
    if (removed[row]) continue;
    for (int64_t c = 0; c < rows.cols; ++c) rows.Row(kept)[c] = rows.Row(row)[c];
    ++kept;
  }
}

}  // namespace pith::reference
