// How much a row's values weigh on average (ops/importance.h), eight sums in double side by side.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/importance.cc"
#include <hwy/foreach_target.h>
// Highway wants its headers after foreach_target.h.
#include "ops/importance.h"

#include <array>
#include <cmath>

#include "backends/cpu/kernels.h"
#include "backends/cpu/math-inl.h"
#include "core/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace pith::cpu::HWY_NAMESPACE {

// Column c is added to sum c % kSums whatever the width of vectors is, so every target gives the
// same bits.
constexpr int64_t kSums = 8;
using Wide = hn::CappedTag<double, kSums>;
using Narrow = hn::Rebind<float, Wide>;

struct Same {
  template <class Vector>
  Vector operator()(Narrow /*d*/, Vector v) const {
    return v;
  }
};
// Written so that NaN stays NaN.
struct Clip {
  template <class Vector>
  Vector operator()(Narrow d, Vector v) const {
    return hn::IfThenZeroElse(hn::Lt(v, hn::Zero(d)), v);
  }
};
struct Magnitude {
  template <class Vector>
  Vector operator()(Narrow /*d*/, Vector v) const {
    return hn::Abs(v);
  }
};

// Σ fn(row), or of the squares, which are exact in double.
template <bool kSquare, class Fn>
double SumRow(const float* row, int64_t cols, const Fn& fn) {
  const Wide wide;
  const Narrow narrow;
  constexpr int64_t kLanesWide = hn::MaxLanes(Wide());
  constexpr int64_t kVectors = kSums / kLanesWide;
  HWY_ALIGN double sums[kSums] = {};
  std::array<hn::Vec<Wide>, kVectors> lanes;
  for (auto& lane : lanes) lane = hn::Zero(wide);
  const auto add = [&](const float* from) HWY_ATTR {
#pragma GCC unroll 4
    for (int64_t v = 0; v < kVectors; ++v) {
      const auto value = hn::PromoteTo(wide, fn(narrow, hn::LoadU(narrow, from + v * kLanesWide)));
      lanes[v] = kSquare ? hn::MulAdd(value, value, lanes[v]) : hn::Add(lanes[v], value);
    }
  };
  const int64_t whole = cols / kSums * kSums;
  for (int64_t c = 0; c < whole; c += kSums) add(row + c);
  for (int64_t v = 0; v < kVectors; ++v) hn::Store(lanes[v], wide, sums + v * kLanesWide);
  double sum = 0;
  for (double lane : sums) sum += lane;
  if (whole == cols) return sum;
  std::array<float, kSums> rest = {};  // zeros add nothing
  std::copy(row + whole, row + cols, rest.begin());
  for (auto& lane : lanes) lane = hn::Zero(wide);
  add(rest.data());
  for (int64_t v = 0; v < kVectors; ++v) hn::Store(lanes[v], wide, sums + v * kLanesWide);
  for (int64_t c = whole; c < cols; ++c) sum += sums[c - whole];
  return sum;
}

double Importance(ImportanceKind kind, const float* row, int64_t cols) {
  const auto n = static_cast<double>(cols);
  switch (kind) {
    case ImportanceKind::kClip:
      return SumRow<false>(row, cols, Clip()) / n;
    case ImportanceKind::kL1:
      return SumRow<false>(row, cols, Magnitude()) / n;
    case ImportanceKind::kL2:
      return std::sqrt(SumRow<true>(row, cols, Same()) / n);
    default:
      return SumRow<false>(row, cols, Same()) / n;
  }
}

void RunRowImportance(const Exec& exec, ImportanceKind kind, MatView<const float> activations,
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

}  // namespace pith::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pith::cpu {

HWY_EXPORT(RunRowImportance);

void RowImportance(const Exec& exec, ImportanceKind kind, MatView<const float> activations,
                   VecView<float> importance) {
  HWY_DYNAMIC_DISPATCH(RunRowImportance)(exec, kind, activations, importance);
}

}  // namespace pith::cpu
#endif
