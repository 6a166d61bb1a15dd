#include "ops/importance.h"

#include <cmath>

#include "backends/cpu/kernels.h"
#include "core/parallel.h"

namespace pith::cpu {
namespace {

// Independent partial sums, so that the loop vectorises without reordering additions.
constexpr int64_t kLanes = 8;

template <class Fn>
double SumRow(const float* row, int64_t cols, Fn&& fn) {
  double lanes[kLanes] = {};
  int64_t c = 0;
  for (; c + kLanes <= cols; c += kLanes) {
    for (int64_t l = 0; l < kLanes; ++l) lanes[l] += fn(row[c + l]);
  }
  double sum = 0;
  for (double lane : lanes) sum += lane;
  for (; c < cols; ++c) sum += fn(row[c]);
  return sum;
}

double Importance(ImportanceKind kind, const float* row, int64_t cols) {
  const auto n = static_cast<double>(cols);
  switch (kind) {
    case ImportanceKind::kClip:  // written so that NaN stays NaN
      return SumRow(row, cols, [](float v) -> double { return v < 0 ? 0.0f : v; }) / n;
    case ImportanceKind::kL1:
      return SumRow(row, cols, [](float v) -> double { return std::fabs(v); }) / n;
    case ImportanceKind::kL2:
      return std::sqrt(SumRow(row, cols, [](double v) { return v * v; }) / n);
    default:
      return SumRow(row, cols, [](float v) -> double { return v; }) / n;
  }
}

}  // namespace

void RowImportance(const Exec& exec, ImportanceKind kind, MatView<const float> activations,
                   VecView<float> importance) {
  constexpr int64_t kRows = 32;
  const int64_t rows = activations.rows;
  const int threads = ThreadsFor(exec, rows * activations.cols);
  ParallelFor(threads, CeilDiv(rows, kRows), [&](int64_t block) {
    for (int64_t t = block * kRows; t < std::min(rows, (block + 1) * kRows); ++t) {
      importance.data[t] =
          static_cast<float>(Importance(kind, activations.Row(t), activations.cols));
    }
  });
}

}  // namespace pith::cpu
