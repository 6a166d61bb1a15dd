// The one matrix-product kernel of the CPU backend, compiled once per SIMD target.
//
// Every element of a product is a single chain of fused multiply-adds in ascending k, whatever the
// tile it is computed in. So is one of pairs of bf16, with their dot products for multiply-adds. Of
// pairs of f16 it is such chains of kRunOfF16 steps, two and two of them added in f16, the rest in
// f32.
// Its bits therefore cannot depend on the number of rows, on a row's place or on threads, and short
// inputs need no padding. That is why this is not a library's product.
#if defined(PITH_BACKENDS_CPU_GEMM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PITH_BACKENDS_CPU_GEMM_INL_H_
#undef PITH_BACKENDS_CPU_GEMM_INL_H_
#else
#define PITH_BACKENDS_CPU_GEMM_INL_H_
#endif

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "backends/cpu/math-inl.h"
#include "core/tensor.h"

HWY_BEFORE_NAMESPACE();
namespace pith::cpu::HWY_NAMESPACE {
// A tile holds kTileRows × 2 vectors of sums: 24 of AVX-512's 32 registers, 12 of AVX2's 16.
inline constexpr int kTileRows = kLanes >= 16 ? 12 : 6;
inline constexpr int64_t kTileCols = 2 * kLanes;
// Depth of a block: the left tile (kTileRows × kDepth floats) stays in L1. The stride keeps its
// rows off each other's cache sets, and is a constant so that one register addresses them all.
inline constexpr int64_t kDepth = 256;
inline constexpr int64_t kLeftStride = kDepth + 16;

// Steps of the depth in one round of the kernel's loop. Besides its 20 instructions a step of
// AVX2's tile pays for the loop: with four steps a round products are 2 % faster on a core of Zen
// 3. Eight gain nothing more, nor do four that are written out: the compiler then runs out of
// registers.
inline constexpr int kUnrolled = kTileRows > 6 ? 2 : 4;

// A matrix whose blocks of kDepth columns stand one below the other, each with rows of kLeftStride:
// a product's left side, or its right side by panels, wherever it lies in a row.
struct Blocked {
  float* data;
  int64_t rows;
  float* At(int64_t row, int64_t col) const {
    return data + (col / kDepth * rows + row) * kLeftStride + col % kDepth;
  }
};

// fn(k0, depth) for the blocks of [0, depth).
template <class Fn>
HWY_INLINE void ForDepth(int64_t depth, const Fn& fn) {
  for (int64_t k0 = 0; k0 < depth; k0 += kDepth) fn(k0, std::min(kDepth, depth - k0));
}

inline constexpr bool kHasPairs = HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3;

// sum + l · r of floats. Of pairs of bf16, where T says so, two products a lane at once, by AVX-512
// BF16; of pairs of f16 a product and a sum in each half of a lane, by AVX-512 FP16. Neither
// Highway 1.0 nor the target of its AVX-512 knows these instructions, so they are named here, and
// whoever multiplies pairs has asked HasBF16Products() or HasF16Products().
template <class T>
HWY_INLINE V AddProduct(V l, V r, V sum) {
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
  if constexpr (std::is_same_v<T, BF16Pair>) {
    asm("vdpbf16ps %2, %1, %0" : "+v"(sum.raw) : "v"(l.raw), "v"(r.raw));
    return sum;
  }
  if constexpr (std::is_same_v<T, F16Pair>) {
    asm("vfmadd231ph %2, %1, %0" : "+v"(sum.raw) : "v"(l.raw), "v"(r.raw));
    return sum;
  }
#endif
  return hn::MulAdd(l, r, sum);
}

// Steps of pairs of f16 whose products are summed in f16, one after the other. A sum of 32 products
// errs by some 2⁻¹⁰ of itself, as it would if one side of each were rounded to bf16; half as many
// would leave 0.7 of that and take 1.15 times as long. Two runs are added in f16 before they are
// widened: one rounding more, and half of the widening. Sides are scaled so that their largest
// value is from 8 to 16, which keeps two runs and the sum of their halves within 2¹⁵, half of what
// f16 holds.
inline constexpr int64_t kRunOfF16 = 32;
inline constexpr int64_t kWidenedOfF16 = 2 * kRunOfF16;
inline constexpr int kExponentOfF16 = 3;

// Sums of pairs of f16.
HWY_INLINE V AddF16(V a, V b) {
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
  asm("vaddph %1, %0, %0" : "+v"(a.raw) : "v"(b.raw));
#else
  (void)b;
#endif
  return a;
}

// Where column j of a panel of pairs of f16 stands, so that WidenF16 gives columns in order.
HWY_INLINE int64_t F16Place(int64_t j) { return j % 2 * kLanes + j / 2; }

// A panel's two vectors of sums of pairs of f16 → the f32 sums of its columns, in order.
HWY_INLINE void WidenF16(V (&sums)[2]) {
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
  const D d;
  const hn::RepartitionToNarrow<hn::RebindToUnsigned<D>> halves;
  const hn::Rebind<hwy::float16_t, D> narrow;
  const hn::RebindToUnsigned<decltype(narrow)> narrow_bits;
  const auto even = hn::BitCast(halves, sums[0]);
  const auto odd = hn::BitCast(halves, sums[1]);
  const V total = hn::BitCast(d, hn::OddEven(odd, even));
  const V other = hn::BitCast(d, hn::Reverse2(halves, hn::OddEven(even, odd)));
  const auto bits = hn::BitCast(halves, AddF16(total, other));
  sums[0] = hn::PromoteTo(d, hn::BitCast(narrow, hn::LowerHalf(narrow_bits, bits)));
  sums[1] = hn::PromoteTo(d, hn::BitCast(narrow, hn::UpperHalf(narrow_bits, bits)));
#else
  (void)sums;
#endif
}

// The largest finite value of [rows, cols] without its sign, as bits. row(r): where row r begins.
// An infinity or a NaN must not take the digits of what it does not meet.
template <class Row>
HWY_INLINE uint32_t MostBits(int64_t rows, int64_t cols, const Row& row) {
  const D d;
  const hn::RebindToSigned<D> di;
  const auto infinity = hn::Set(di, 0x7f800000);
  auto most = hn::Zero(di);
  int32_t rest = 0;
  for (int64_t r = 0; r < rows; ++r) {
    const float* const values = row(r);
    int64_t i = 0;
    for (; i + kLanes <= cols; i += kLanes) {
      const auto bits = hn::BitCast(di, hn::Abs(hn::LoadU(d, values + i)));
      most = hn::Max(most, hn::IfThenElseZero(hn::Lt(bits, infinity), bits));
    }
    for (; i < cols; ++i) {
      if (std::isfinite(values[i]))
        rest = std::max(rest, std::bit_cast<int32_t>(std::abs(values[i])));
    }
  }
  return static_cast<uint32_t>(std::max(rest, hn::GetLane(hn::MaxOfLanes(di, most))));
}

// The scale of values of which `most` are the largest one's bits without a sign, a power of two; 1
// where all are 0. Within 2^±100, so that two of them, and their inverses, multiply a sum one after
// the other without leaving f32: what is above 2¹⁰³ may become infinite.
inline float ScaleForF16(uint32_t most) {
  constexpr int kBias = 127, kMost = 100;
  const int exponent = static_cast<int>(most >> 23) - kBias;
  if (exponent == -kBias) return 1.0f;
  const int power = std::clamp(kExponentOfF16 - exponent, -kMost, kMost);
  return std::bit_cast<float>(static_cast<uint32_t>(power + kBias) << 23);
}
inline float InverseOfPower(float power) {
  return std::bit_cast<float>((254u << 23) - std::bit_cast<uint32_t>(power));
}

// A left side that AddProductsOf reads: as it lies in its own rows, or transposed. Strides that are
// constants where they can be: with both of them variables the compiler keeps sums in memory.
struct LeftRows {  // [kRows, depth] with stride kLeftStride
  const float* HWY_RESTRICT data;
  HWY_INLINE float At(int r, int64_t k) const { return data[r * kLeftStride + k]; }
  LeftRows Below(int64_t rows) const { return {data + rows * kLeftStride}; }
  LeftRows From(int64_t k) const { return {data + k}; }
};
struct LeftMatrix {  // [kRows, depth]
  const float* HWY_RESTRICT data;
  int64_t stride;
  HWY_INLINE float At(int r, int64_t k) const { return data[r * stride + k]; }
  LeftMatrix Below(int64_t rows) const { return {data + rows * stride, stride}; }
};
struct LeftColumns {  // [depth, kRows]
  const float* HWY_RESTRICT data;
  int64_t stride;
  HWY_INLINE float At(int r, int64_t k) const { return data[k * stride + r]; }
  LeftColumns From(int64_t k) const { return {data + k * stride, stride}; }
};

// sums += left · right. right [depth, kTileCols] with stride right_stride, readable to its full
// width.
template <int kRows, class Left, class T>
HWY_INLINE void AddProductsOf(const Left& left, const T* HWY_RESTRICT right, int64_t right_stride,
                              int64_t depth, V (&sums)[kRows][2]) {
  const D d;
#pragma GCC unroll kUnrolled
  for (int64_t k = 0; k < depth; ++k) {
    const V right0 = LoadWide(d, right + k * right_stride);
    const V right1 = LoadWide(d, right + k * right_stride + kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const V l = hn::Set(d, left.At(r, k));
      sums[r][0] = AddProduct<T>(l, right0, sums[r][0]);
      sums[r][1] = AddProduct<T>(l, right1, sums[r][1]);
    }
  }
}
template <int kRows, class T>
HWY_INLINE void AddProducts(const float* HWY_RESTRICT left, const T* HWY_RESTRICT right,
                            int64_t right_stride, int64_t depth, V (&sums)[kRows][2]) {
  AddProductsOf(LeftRows{left}, right, right_stride, depth, sums);
}

template <int kRows>
HWY_INLINE void ClearSums(V (&sums)[kRows][2]) {
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) sums[r][0] = sums[r][1] = hn::Zero(D());
}

// store(r, j, sum) for rows r < kRows and vectors j < 2.
template <int kRows, class Store>
HWY_INLINE void StoreSums(const V (&sums)[kRows][2], const Store& store) {
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    store(r, 0, sums[r][0]);
    store(r, 1, sums[r][1]);
  }
}

constexpr int SmallerTile(int rows) { return rows == 12 ? 8 : rows == 6 ? 4 : rows / 2; }

// fn(count, first) for tiles that cover `rows` rows: `count`, an integral constant, of each.
template <int kRows = kTileRows, class Fn>
HWY_INLINE void ForTiles(int64_t rows, const Fn& fn, int64_t first = 0) {
  for (; rows - first >= kRows; first += kRows) fn(std::integral_constant<int, kRows>(), first);
  if constexpr (kRows > 1) ForTiles<SmallerTile(kRows)>(rows, fn, first);
}

// One run, unwidened, added to the one that is held, if kSecond. A function of its own: as part of
// a loop over runs the compiler keeps sums in memory all the while that they are made, which takes
// twice the time.
template <int kRows, bool kSecond, class Left>
HWY_NOINLINE void RunOfF16(const Left& left, const F16Pair* HWY_RESTRICT right,
                           int64_t right_stride, int64_t steps, float* HWY_RESTRICT held) {
  const D d;
  V sums[kRows][2];
  ClearSums(sums);
  AddProductsOf(left, right, right_stride, steps, sums);
  StoreSums(sums, [&](int64_t r, int j, V sum) HWY_ATTR {
    float* const at = held + r * kTileCols + j * kLanes;
    hn::Store(kSecond ? AddF16(sum, hn::Load(d, at)) : sum, d, at);
  });
}

// totals[r][j], aligned: left · right of pairs of f16, run by run; the first one of a sum begins
// it.
template <int kRows, class Left>
HWY_INLINE void AddRunsOfF16(const Left& left, const F16Pair* HWY_RESTRICT right,
                             int64_t right_stride, int64_t depth, bool first,
                             float* HWY_RESTRICT totals) {
  const D d;
  HWY_ALIGN float held[kRows * kTileCols];
  for (int64_t k = 0; k < depth; k += kWidenedOfF16) {
    RunOfF16<kRows, false>(left.From(k), right + k * right_stride, right_stride,
                           std::min(kRunOfF16, depth - k), held);
    const int64_t second = k + kRunOfF16;
    if (second < depth) {
      RunOfF16<kRows, true>(left.From(second), right + second * right_stride, right_stride,
                            std::min(kRunOfF16, depth - second), held);
    }
    for (int64_t i = 0; i < kRows * kTileCols; i += kTileCols) {
      V run[2] = {hn::Load(d, held + i), hn::Load(d, held + i + kLanes)};
      WidenF16(run);
      if (!first || k > 0) {
        run[0] = hn::Add(hn::Load(d, totals + i), run[0]);
        run[1] = hn::Add(hn::Load(d, totals + i + kLanes), run[1]);
      }
      hn::Store(run[0], d, totals + i);
      hn::Store(run[1], d, totals + i + kLanes);
    }
  }
}

// store(r, j, sum) for rows r < `rows` and vectors j < 2 of left · right.
template <class Left, class T, class Store>
HWY_INLINE void MultiplyRows(int64_t rows, const Left& left, const T* right, int64_t right_stride,
                             int64_t depth, const Store& store) {
  ForTiles(rows, [&](auto count, int64_t first) HWY_ATTR {
    if constexpr (std::is_same_v<T, F16Pair>) {
      const D d;
      HWY_ALIGN float totals[count * kTileCols];
      AddRunsOfF16<count>(left.Below(first), right, right_stride, depth, /*first=*/true, totals);
      for (int r = 0; r < count; ++r) {
        for (int j = 0; j < 2; ++j) {
          store(first + r, j, hn::Load(d, totals + r * kTileCols + j * kLanes));
        }
      }
      return;
    }
    V sums[count][2];
    ClearSums(sums);
    AddProductsOf(left.Below(first), right, right_stride, depth, sums);
    StoreSums(sums, [&](int64_t r, int j, V sum) HWY_ATTR { store(first + r, j, sum); });
  });
}

}  // namespace pith::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // PITH_BACKENDS_CPU_GEMM_INL_H_
