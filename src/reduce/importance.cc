#include "reduce/importance.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/parallel.h"

namespace pith {
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
    case ImportanceKind::kNoClip:
      return SumRow(row, cols, [](float v) -> double { return v; }) / n;
    case ImportanceKind::kL1:
      return SumRow(row, cols, [](float v) -> double { return std::fabs(v); }) / n;
    case ImportanceKind::kL2:
      return std::sqrt(SumRow(row, cols, [](double v) { return v * v; }) / n);
    default:  // of the scan or of tokens
      PITH_CHECK(false);
      return 0;
  }
}

}  // namespace

void RowImportance(const Exec& exec, ImportanceKind kind, MatView<const float> activations,
                   std::span<float> importance) {
  PITH_CHECK(static_cast<int64_t>(importance.size()) == activations.rows && activations.cols > 0);
  constexpr int64_t kRows = 32;
  ParallelFor(exec.threads, (activations.rows + kRows - 1) / kRows, [&](int64_t block) {
    const int64_t end = std::min(activations.rows, (block + 1) * kRows);
    for (int64_t t = block * kRows; t < end; ++t) {
      importance[t] = static_cast<float>(Importance(kind, activations.Row(t), activations.cols));
    }
  });
}

}  // namespace pith
