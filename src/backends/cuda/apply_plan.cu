// Two passes. Targets first, in place: what merges is removed and never a target, so no block reads
// what another writes. Then the survivors close up, batch by batch through scratch: a batch reads
// rows that no earlier batch has written, since no row moves up.
#include "ops/apply_plan.h"

#include <algorithm>
#include <vector>

#include "backends/cuda/kernels.h"
#include "backends/cuda/launch.cuh"

namespace pith::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kBatch = int64_t{16} << 20;  // floats of the scratch

// Which rows merge into which in one branch.
struct Merges {
  std::vector<int32_t> targets;  // those that get any, increasing
  std::vector<int32_t> begins;   // of each target's rows in `members`, and their number
  std::vector<int32_t> members;  // each target's in row order
};

Merges MergesOf(const Plan& plan, Branch branch, int64_t rows) {
  const bool hidden = branch == Branch::kHidden;
  std::vector<int32_t> counts(rows, 0), next(rows, 0);
  for (const Plan::Removed& r : plan.removed) {
    if (r.MergesIn(hidden)) ++counts[r.target];
  }
  Merges merges;
  int32_t members = 0;
  for (int64_t row = 0; row < rows; ++row) {
    if (counts[row] == 0) continue;
    merges.targets.push_back(static_cast<int32_t>(row));
    merges.begins.push_back(members);
    next[row] = members;
    members += counts[row];
  }
  merges.begins.push_back(members);
  merges.members.resize(members);
  for (const Plan::Removed& r : plan.removed) {
    if (r.MergesIn(hidden)) merges.members[next[r.target]++] = r.row;
  }
  return merges;
}

// A column of the rows that merge into one target.
struct Column {
  const Rows<float>& rows;
  const int32_t* members;
  int count;
  int64_t c;
  __device__ float operator[](int i) const { return rows[members[i]][c]; }
};

__device__ double Mean(const Column& column, int64_t target, const float* weights) {
  double total = weights == nullptr ? 1 : weights[target];
  double sum = total * column.rows[target][column.c];
  for (int i = 0; i < column.count; ++i) {
    const double weight = weights == nullptr ? 1 : weights[column.members[i]];
    total += weight;
    sum += weight * column[i];
  }
  return sum / total;
}

// Grows with the value; NaN comes lowest.
__device__ uint32_t Order(float v) {
  if (isnan(v)) return 0;
  const uint32_t bits = __float_as_uint(v);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// The mean of the target and the floor(count / 2) largest of the column: the least of those is
// found bit by bit, so that any number of rows needs no memory and 32 looks at each.
__device__ double TopMean(const Column& column, int64_t target) {
  const int top = column.count / 2;
  double sum = column.rows[target][column.c];
  if (top == 0) return sum;
  uint32_t least = 0;
  for (int bit = 31; bit >= 0; --bit) {
    const uint32_t higher = least | (1u << bit);
    int above = 0;
    for (int i = 0; i < column.count; ++i) above += Order(column[i]) >= higher ? 1 : 0;
    if (above >= top) least = higher;
  }
  int larger = 0;
  float value = 0;
  for (int i = 0; i < column.count; ++i) {
    const float v = column[i];
    if (Order(v) == least) value = v;
    if (Order(v) <= least) continue;
    sum += v;
    ++larger;
  }
  return (sum + static_cast<double>(top - larger) * value) / (top + 1);
}

// A block takes kThreads columns of one target.
__global__ void MergeRows(Rows<float> rows, int64_t cols, const int32_t* targets,
                          const int32_t* begins, const int32_t* members, const float* weights,
                          MergeRule rule) {
  const unsigned pieces = (cols + kThreads - 1) / kThreads;
  const int64_t c = blockIdx.x % pieces * static_cast<int64_t>(kThreads) + threadIdx.x;
  if (c >= cols) return;
  const unsigned i = blockIdx.x / pieces;
  const int64_t target = targets[i];
  const Column column{rows, members + begins[i], begins[i + 1] - begins[i], c};
  rows[target][c] = static_cast<float>(rule == MergeRule::kMean ? Mean(column, target, weights)
                                                                : TopMean(column, target));
}

void Merge(const Exec& exec, const Plan& plan, Branch branch, MatView<float> rows) {
  const Merges merges = MergesOf(plan, branch, rows.rows);
  if (merges.targets.empty()) return;
  const auto place = [&]<class T>(const std::vector<T>& v) {
    return Place(exec, std::span<const T>(v));
  };
  const unsigned blocks =
      static_cast<unsigned>(merges.targets.size()) * Blocks(rows.cols, kThreads);
  Launch(exec, MergeRows, blocks, kThreads, 0, rows, rows.cols, place(merges.targets),
         place(merges.begins), place(merges.members), place(plan.weights),
         branch == Branch::kHidden ? plan.hidden_rule : plan.residual_rule);
}

void CloseUp(const Exec& exec, const Plan& plan, MatView<float> rows) {
  const int64_t first = plan.removed.front().row;  // those before it stay where they are
  std::vector<int64_t> from;
  for (size_t i = 0; i < plan.removed.size(); ++i) {
    const int64_t end = i + 1 < plan.removed.size() ? plan.removed[i + 1].row : rows.rows;
    for (int64_t row = plan.removed[i].row + 1; row < end; ++row) from.push_back(row);
  }
  const auto count = static_cast<int64_t>(from.size());
  const int64_t batch = std::min(count, std::max<int64_t>(1, kBatch / rows.cols));
  const Scratch<float> scratch(exec, batch * rows.cols);
  for (int64_t done = 0; done < count; done += batch) {
    const int64_t size = std::min(batch, count - done);
    const MatView<float> moved(scratch.data(), size, rows.cols);
    cuda::GatherRows(
        exec,
        {.a = rows, .a_rows = std::span<const int64_t>(from).subspan(done, size), .out = moved});
    cuda::CopyRows(exec, moved, rows.Rows(first + done, size));
  }
}

}  // namespace

void ApplyPlan(const Exec& exec, const Plan& plan, Branch branch, MatView<float> rows) {
  Merge(exec, plan, branch, rows);
  CloseUp(exec, plan, rows);
}

}  // namespace pith::cuda
