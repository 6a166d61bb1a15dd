// The two sides of a product as tiles read them (gemm-inl.h), compiled once per SIMD target: left
// sides copied, panels where they lie or widened into scratch.
#if defined(PITH_BACKENDS_CPU_SIDES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PITH_BACKENDS_CPU_SIDES_INL_H_
#undef PITH_BACKENDS_CPU_SIDES_INL_H_
#else
#define PITH_BACKENDS_CPU_SIDES_INL_H_
#endif

#include <hwy/cache_control.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "backends/cpu/gemm-inl.h"
#include "backends/cpu/kernels.h"
#include "core/error.h"
#include "core/weight.h"

HWY_BEFORE_NAMESPACE();
namespace pith::cpu::HWY_NAMESPACE {

struct Task {
  MatView<const float> x;
  WeightView w;
  const float* bias;  // null: none
  MatView<float> out;
  bool bf16;
  bool pairs;  // both sides are pairs of 16 bits: the processor multiplies them

  // Columns of the output are counted from the first panel that holds any of them: those before
  // `shift` belong to the matrix, but not to the view.
  int64_t shift() const { return w.first % kTileCols; }
  int64_t grid() const { return shift() + w.rows; }
  // f16: of the columns of the panel at grid column `col`.
  const float* ColumnScales(int64_t col) const {
    return w.scales == nullptr ? nullptr : w.scales + w.first - shift() + col;
  }
  // Of the depth: columns, or pairs of them.
  int64_t steps() const { return pairs ? CeilDiv(w.cols, 2) : w.cols; }
  bool f16() const { return w.format == WeightFormat::kPairPanels && w.dtype == DType::kF16; }
  bool rounds() const { return bf16 && w.dtype != DType::kBF16; }
  // Whether the weights are read in place by tiles.
  bool in_place() const {
    if (w.format == WeightFormat::kPairPanels) return true;
    return !rounds() && (w.dtype == DType::kF32 || x.rows <= kTileRows);
  }
};

inline Task TaskOf(const Exec& exec, MatView<const float> x, const WeightView& w,
                   VecView<const float> bias, MatView<float> out) {
  const bool bf16 = exec.precision == Precision::kBF16;
  const bool in_pairs = w.format == WeightFormat::kPairPanels;
  const bool bf16_pairs = kHasPairs && bf16 && HasBF16Products();
  const bool f16_pairs = kHasPairs && bf16 && HasF16Products() && in_pairs;
  // What was prepared for another precision, or at another SIMD level, has no such sides.
  PITH_CHECK(w.panel == kTileCols);
  PITH_CHECK(!in_pairs || (w.dtype == DType::kF16 ? f16_pairs : bf16_pairs));
  PITH_CHECK(!bf16_pairs || in_pairs || w.dtype != DType::kBF16);
  return {x, w, bias.data, out, bf16, bf16_pairs || f16_pairs};
}

// fn.operator()<T>() for the type of what panels hold a step.
template <class Fn>
HWY_INLINE decltype(auto) VisitPanels(const WeightView& w, const Fn& fn) {
  if constexpr (kHasPairs) {
    if (w.format == WeightFormat::kPairPanels) {
      return w.dtype == DType::kF16 ? fn.template operator()<F16Pair>()
                                    : fn.template operator()<BF16Pair>();
    }
  }
  return VisitFloat(w.dtype, fn);
}

template <class T>
inline constexpr bool kIsPair = std::is_same_v<T, BF16Pair> || std::is_same_v<T, F16Pair>;

// Steps from k0 on of the panel at grid column `col`, which hold T.
template <class T>
const T* PackedPanel(const Task& task, int64_t col, int64_t k0) {
  const int64_t steps = kIsPair<T> ? task.steps() : task.w.cols;
  const int64_t panel = (task.w.first - task.shift() + col) / kTileCols;
  return static_cast<const T*>(task.w.data) + (panel * steps + k0) * kTileCols;
}

// to[k · kTileCols + j] = the weights of grid columns col + j, as floats, or as pairs where the
// product's sides are pairs.
inline void FillPanel(const Task& task, int64_t col, int64_t k0, int64_t depth, float* to) {
  const D d;
  VisitFloat(task.w.dtype, [&]<class T>() HWY_ATTR {
    const auto fill = [&](const auto& load) HWY_ATTR {
      for (int64_t i = 0; i < depth * kTileCols; i += kTileCols) {
        hn::Store(load(i), d, to + i);
        hn::Store(load(i + kLanes), d, to + i + kLanes);
      }
    };
    if (task.pairs) {
      const T* const from = PackedPanel<T>(task, col, 2 * k0);
      const T* const none = from + (task.w.cols - 2 * k0) * kTileCols;
      fill([&](int64_t i) HWY_ATTR {
        const T* const first = from + i / kTileCols * 2 * kTileCols + i % kTileCols;
        const V second = first + kTileCols < none ? LoadWide(d, first + kTileCols) : hn::Zero(d);
        return PairOf(RoundToBF16(d, LoadWide(d, first)), RoundToBF16(d, second));
      });
      return;
    }
    const T* const from = PackedPanel<T>(task, col, k0);
    if (task.rounds()) {
      fill([&](int64_t i) HWY_ATTR { return RoundToBF16(d, LoadWide(d, from + i)); });
    } else {
      fill([&](int64_t i) HWY_ATTR { return LoadWide(d, from + i); });
    }
  });
}

// Asks for what lies in [from, from + count) floats.
HWY_INLINE void AskFor(const float* from, int64_t count) {
  constexpr int64_t kLine = 16;
  for (int64_t i = 0; i < count; i += kLine) hwy::Prefetch(from + i);
}

// What a row is multiplied by before it is rounded to f16: 1 where it is not.
inline float ScaleOfRow(const Task& task, const float* x) {
  if (!task.f16()) return 1.0f;
  return ScaleForF16(MostBits(1, task.w.cols, [&](int64_t) { return x; }));
}

// Sums of row r and the j-th vector of columns without the scales that `rows` and `columns` have;
// where T has none, as they are, and both may be null.
template <class T>
HWY_INLINE V Unscaled(V sum, const float* columns, int64_t j, const float* rows, int64_t r) {
  if constexpr (!std::is_same_v<T, F16Pair>) return sum;
  const V inverse = hn::Set(D(), InverseOfPower(rows[r]));
  return hn::Mul(hn::Mul(sum, hn::LoadU(D(), columns + j * kLanes)), inverse);
}

// Steps [k0, k0 + depth) of one row, of which `scale` is what ScaleOfRow gives.
inline void CopyRow(const Task& task, const float* x, float scale, int64_t k0, int64_t depth,
                    float* to) {
  if (task.pairs) {
    const int64_t cols = std::min(2 * depth, task.w.cols - 2 * k0);
    if (task.f16()) return RoundPairs<F16Pair>(x + 2 * k0, cols, scale, to);
    return RoundPairs<BF16Pair>(x + 2 * k0, cols, scale, to);
  }
  ForVectors(depth, [&](auto d, int64_t i) HWY_ATTR {
    const auto v = hn::LoadU(d, x + k0 + i);
    hn::StoreU(task.bf16 ? RoundToBF16(d, v) : v, d, to + i);
  });
}

// A row's piece of a block is too short for the processor to see a stream in it, and would wait for
// the outer caches. So some rows are asked for ahead.
inline void CopyLeft(const Task& task, int64_t row, int64_t rows, const float* scales, int64_t k0,
                     int64_t depth, float* left) {
  constexpr int64_t kRowsAhead = 4;
  const int64_t columns = task.pairs ? 2 : 1;
  for (int64_t r = 0; r < rows; ++r) {
    if (r + kRowsAhead < rows) {
      AskFor(task.x.Row(row + r + kRowsAhead) + columns * k0, columns * depth);
    }
    CopyRow(task, task.x.Row(row + r), scales[r], k0, depth, left + r * kLeftStride);
  }
}

// What is read next, asked for piece by piece while tiles are computed. Without it a panel's first
// tile waits for the panel: 6 of 92 GFLOP/s on a core of Zen 3.
class Ahead {
 public:
  Ahead(const void* begin, int64_t bytes, int64_t pieces)
      : at_(static_cast<const std::byte*>(begin)), left_(bytes), piece_(CeilDiv(bytes, pieces)) {}
  void Ask() {
    constexpr int64_t kLine = 64;
    for (int64_t asked = 0; asked < piece_ && left_ > 0; asked += kLine, left_ -= kLine) {
      hwy::Prefetch(at_);
      at_ += kLine;
    }
  }

 private:
  const std::byte* at_;
  int64_t left_;
  int64_t piece_;
};

}  // namespace pith::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // PITH_BACKENDS_CPU_SIDES_INL_H_
