#include "reduce/apply.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "core/parallel.h"

namespace pith {
namespace {

bool Merges(const Plan::Removed& removed, Branch branch) {
  return branch == Branch::kHidden ? removed.merge_hidden : removed.merge_residual;
}

void AddRow(const float* source, int64_t cols, float* target) {
  for (int64_t c = 0; c < cols; ++c) target[c] += source[c];
}

// `members` [rows]: how many rows merge into each.
void MergeRows(const Plan& plan, Branch branch, const std::vector<int32_t>& members,
               MatView<float> rows) {
  for (const Plan::Removed& r : plan.removed) {
    if (Merges(r, branch)) AddRow(rows.Row(r.row), rows.cols, rows.Row(r.target));
  }
  for (int64_t row = 0; row < rows.rows; ++row) {
    if (members[row] == 0) continue;
    const float size = static_cast<float>(members[row] + 1);
    float* out = rows.Row(row);
    for (int64_t c = 0; c < rows.cols; ++c) out[c] /= size;
  }
}

void Compact(const Plan& plan, MatView<float> rows) {
  int64_t kept = plan.removed.front().row;
  for (size_t i = 0; i < plan.removed.size(); ++i) {
    const int64_t end = i + 1 < plan.removed.size() ? plan.removed[i + 1].row : rows.rows;
    for (int64_t row = plan.removed[i].row + 1; row < end; ++row, ++kept) {
      std::memcpy(rows.Row(kept), rows.Row(row), rows.cols * sizeof(float));
    }
  }
}

}  // namespace

void ApplyPlan(const Exec& exec, const Plan& plan, Branch branch, MatView<float> rows) {
  CheckPlan(plan, rows.rows);
  if (plan.removed.empty()) return;
  std::vector<int32_t> members(rows.rows, 0);
  bool any_merge = false;
  for (const Plan::Removed& r : plan.removed) {
    if (!Merges(r, branch)) continue;
    ++members[r.target];
    any_merge = true;
  }
  // Columns are independent: each slice goes through all rows on one thread.
  constexpr int64_t kSlice = 256;
  ParallelFor(exec.threads, (rows.cols + kSlice - 1) / kSlice, [&](int64_t s) {
    const int64_t begin = s * kSlice;
    const MatView<float> slice = rows.Cols(begin, std::min(kSlice, rows.cols - begin));
    if (any_merge) MergeRows(plan, branch, members, slice);
    Compact(plan, slice);
  });
}

}  // namespace pith
