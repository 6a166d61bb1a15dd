#include "ops/apply_plan.h"

#include <cmath>
#include <cstring>
#include <vector>

#include "backends/cpu/kernels.h"
#include "core/parallel.h"

namespace pith::cpu {
namespace {

bool Merges(const Plan::Removed& removed, Branch branch) {
  return removed.MergesIn(branch == Branch::kHidden);
}

// How many rows merge into each in one branch.
std::vector<int32_t> CountMembers(const Plan& plan, Branch branch, int64_t rows) {
  std::vector<int32_t> members(rows, 0);
  for (const Plan::Removed& r : plan.removed) {
    if (Merges(r, branch)) ++members[r.target];
  }
  return members;
}

void MergeMeans(const Plan& plan, Branch branch, const std::vector<int32_t>& members,
                MatView<float> rows) {
  const auto weight = [&](int64_t row) { return plan.weights.empty() ? 1 : plan.weights[row]; };
  std::vector<float> total(rows.rows, 0);
  for (int64_t row = 0; row < rows.rows; ++row) {
    if (members[row] == 0) continue;
    total[row] = weight(row);
    for (int64_t c = 0; c < rows.cols; ++c) rows.Row(row)[c] *= total[row];
  }
  for (const Plan::Removed& r : plan.removed) {
    if (!Merges(r, branch)) continue;
    const float w = weight(r.row);
    total[r.target] += w;
    for (int64_t c = 0; c < rows.cols; ++c) rows.Row(r.target)[c] += w * rows.Row(r.row)[c];
  }
  for (int64_t row = 0; row < rows.rows; ++row) {
    if (members[row] == 0) continue;
    for (int64_t c = 0; c < rows.cols; ++c) rows.Row(row)[c] /= total[row];
  }
}

// Largest first; NaN, which would break the order, last.
bool IsLarger(float a, float b) { return a > b || (std::isnan(b) && !std::isnan(a)); }

void MergeTopChannels(const Plan& plan, Branch branch, const std::vector<int32_t>& members,
                      MatView<float> rows) {
  std::vector<float> values;
  for (int64_t row = 0; row < rows.rows; ++row) {
    if (members[row] == 0) continue;
    const int64_t top = members[row] / 2;
    for (int64_t c = 0; c < rows.cols; ++c) {
      values.clear();
      for (const Plan::Removed& r : plan.removed) {
        if (r.target == row && Merges(r, branch)) values.push_back(rows.Row(r.row)[c]);
      }
      std::partial_sort(values.begin(), values.begin() + top, values.end(), IsLarger);
      float sum = rows.Row(row)[c];
      for (int64_t i = 0; i < top; ++i) sum += values[i];
      rows.Row(row)[c] = sum / static_cast<float>(top + 1);
    }
  }
}

// Kept rows that follow each other move together, at once where nothing lies between them.
void Compact(const Plan& plan, MatView<float> rows) {
  int64_t kept = plan.removed.front().row;
  for (size_t i = 0; i < plan.removed.size(); ++i) {
    const int64_t begin = plan.removed[i].row + 1;
    const int64_t end = i + 1 < plan.removed.size() ? plan.removed[i + 1].row : rows.rows;
    if (rows.stride == rows.cols) {
      std::memmove(rows.Row(kept), rows.Row(begin), (end - begin) * rows.cols * sizeof(float));
    } else {
      for (int64_t row = begin; row < end; ++row) {
        std::memcpy(rows.Row(kept + row - begin), rows.Row(row), rows.cols * sizeof(float));
      }
    }
    kept += end - begin;
  }
}

}  // namespace

void ApplyPlan(const Exec& exec, const Plan& plan, Branch branch, MatView<float> rows) {
  const bool any_merge =
      std::ranges::any_of(plan.removed, [&](const auto& r) { return Merges(r, branch); });
  const std::vector<int32_t> members =
      any_merge ? CountMembers(plan, branch, rows.rows) : std::vector<int32_t>();
  const MergeRule rule = branch == Branch::kHidden ? plan.hidden_rule : plan.residual_rule;
  // Columns are independent: each thread takes a slice of whole cache lines through all rows.
  constexpr int64_t kLine = 16;
  const int threads = ThreadsFor(exec, rows.rows * rows.cols);
  const int64_t width = CeilDiv(CeilDiv(rows.cols, kLine), threads) * kLine;
  ParallelFor(threads, CeilDiv(rows.cols, width), [&](int64_t s) {
    const int64_t begin = s * width;
    const MatView<float> slice = rows.Cols(begin, std::min(width, rows.cols - begin));
    if (any_merge) {
      (rule == MergeRule::kMean ? MergeMeans : MergeTopChannels)(plan, branch, members, slice);
    }
    Compact(plan, slice);
  });
}

}  // namespace pith::cpu
