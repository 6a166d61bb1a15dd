// Activations in 8 bits, and products of bytes, compiled once per SIMD target.
#if defined(PITH_BACKENDS_CPU_QUANT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PITH_BACKENDS_CPU_QUANT_INL_H_
#undef PITH_BACKENDS_CPU_QUANT_INL_H_
#else
#define PITH_BACKENDS_CPU_QUANT_INL_H_
#endif

#include <hwy/cache_control.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "backends/cpu/math-inl.h"
#include "core/quantise.h"
#include "core/tensor.h"

HWY_BEFORE_NAMESPACE();
namespace pith::cpu::HWY_NAMESPACE {

using DI = hn::RebindToSigned<D>;
using VI = hn::Vec<DI>;

// Rows of activations, quantised by groups of 32 columns; the last group is filled up with 0.
struct QuantRows {
  int64_t groups = 0;
  int8_t* q = nullptr;      // [rows, groups · 32]
  float* scales = nullptr;  // [rows, groups]
  int32_t* sums = nullptr;  // [rows, groups, 2]: of the first 16 of q, and of all 32

  int64_t stride() const { return groups * kActivationGroup; }
};

// Whole groups as QuantiseActivations does, to the bit.
inline void QuantiseGroup(const float* x, int8_t* q, float& scale, int32_t* sums) {
  const D d;
  const hn::Rebind<int8_t, D> d8;
  const V zero = hn::Zero(d);
  V most = zero, spoilt = zero;
  for (int64_t i = 0; i < kActivationGroup; i += kLanes) {
    const V v = hn::LoadU(d, x + i);
    most = hn::Max(most, hn::Abs(v));
    spoilt = hn::Add(spoilt, hn::Sub(v, v));  // NaN where v is not finite
  }
  const float largest = hn::GetLane(hn::MaxOfLanes(d, most));
  const float nothing = hn::GetLane(hn::SumOfLanes(d, spoilt));
  const bool some = nothing == 0.0f && largest >= 0x1p-100f;
  scale = nothing != 0.0f || nothing != nothing ? nothing : some ? largest / 127.0f : 0.0f;
  const V inverse = hn::Set(d, some ? 127.0f / largest : 0.0f);
  VI total = hn::Zero(DI());
  for (int64_t i = 0; i < kActivationGroup; i += kLanes) {
    if (i == kActivationGroup / 2) sums[0] = hn::GetLane(hn::SumOfLanes(DI(), total));
    const V v = some ? hn::LoadU(d, x + i) : zero;
    const VI rounded = hn::NearestInt(hn::Mul(v, inverse));
    total = hn::Add(total, rounded);
    hn::StoreU(hn::DemoteTo(d8, rounded), d8, q + i);
  }
  sums[1] = hn::GetLane(hn::SumOfLanes(DI(), total));
}
static_assert(kLanes <= kActivationGroup / 2);

inline void QuantiseRows(MatView<const float> x, int64_t row, const QuantRows& to) {
  for (int64_t g = 0; g < to.groups; ++g) {
    const float* from = x.Row(row) + g * kActivationGroup;
    const int64_t count = std::min(kActivationGroup, x.cols - g * kActivationGroup);
    HWY_ALIGN float rest[kActivationGroup] = {};
    if (count < kActivationGroup) {
      std::memcpy(rest, from, count * sizeof(float));
      from = rest;
    }
    const int64_t at = row * to.groups + g;
    QuantiseGroup(from, to.q + at * kActivationGroup, to.scales[at], to.sums + 2 * at);
  }
}

// Sums of products of whole numbers, exact in every target. A word holds four bytes of a lane's
// weights, and x points to the four of a row's activations that they meet. |x| ≤ 127.
HWY_INLINE VI LoadFour(const int8_t* x) {
  int32_t four;
  std::memcpy(&four, x, sizeof(four));
  return hn::Set(DI(), four);
}

#if HWY_ARCH_X86 && HWY_TARGET <= HWY_SSSE3

using DB = hn::Repartition<int8_t, DI>;
using DH = hn::Repartition<int16_t, DI>;

// Sums of two neighbouring products of a byte without a sign and one with, in 16 bits: below
// 2 · 128 · 127 here, so that none saturates. Highway 1.0 has no name for the instruction.
HWY_INLINE hn::Vec<DH> MultiplyBytes(VI u, VI s) {
#if HWY_TARGET <= HWY_AVX3
  return hn::Vec<DH>{_mm512_maddubs_epi16(u.raw, s.raw)};
#elif HWY_TARGET == HWY_AVX2
  return hn::Vec<DH>{_mm256_maddubs_epi16(u.raw, s.raw)};
#else
  return hn::Vec<DH>{_mm_maddubs_epi16(u.raw, s.raw)};
#endif
}

// x with the sign of w; w = 0 may leave x as it is. Highway 1.0 has it for AVX-512 alone: its
// IfNegativeThenElse of bytes is wrong on SSSE3.
HWY_INLINE hn::Vec<DB> WithSign(hn::Vec<DB> x, hn::Vec<DB> w) {
#if HWY_TARGET <= HWY_AVX3
  return hn::IfNegativeThenElse(w, hn::Neg(x), x);
#elif HWY_TARGET == HWY_AVX2
  return hn::Vec<DB>{_mm256_sign_epi8(x.raw, w.raw)};
#else
  return hn::Vec<DB>{_mm_sign_epi8(x.raw, w.raw)};
#endif
}

HWY_INLINE VI AddNeighbours(VI sum, hn::Vec<DH> pairs) {
  VI unused = hn::Zero(DI());
  return hn::ReorderWidenMulAccumulate(DI(), pairs, hn::Set(DH(), 1), sum, unused);
}

// Words of 4 bits, from 0 to 15: eight products a 16-bit sum stay below 8 · 2 · 15 · 127 < 2¹⁵.
struct SmallSums {
  hn::Vec<DH> sum;
  HWY_INLINE void Clear() { sum = hn::Zero(DH()); }
  HWY_INLINE void Add(VI word, const int8_t* x) {
    sum = hn::Add(sum, MultiplyBytes(word, LoadFour(x)));
  }
  HWY_INLINE VI Total() const { return AddNeighbours(hn::Zero(DI()), sum); }
};

struct ByteSums {
  VI sum;
  HWY_INLINE void Clear() { sum = hn::Zero(DI()); }
  // |word| · x with the sign of word.
  HWY_INLINE void Add(VI word, const int8_t* x) {
    const DI di;
    const DB d8;
    const auto w = hn::BitCast(d8, word);
    const auto in = WithSign(hn::BitCast(d8, LoadFour(x)), w);
    sum = AddNeighbours(sum, MultiplyBytes(hn::BitCast(di, hn::Abs(w)), hn::BitCast(di, in)));
  }
  HWY_INLINE VI Total() const { return sum; }
};

#else

struct ByteSums {
  VI sum;
  HWY_INLINE void Clear() { sum = hn::Zero(DI()); }
  HWY_INLINE void Add(VI word, const int8_t* x) {
    const VI in = LoadFour(x);
    AddByte(hn::ShiftLeft<24>(word), hn::ShiftLeft<24>(in));
    AddByte(hn::ShiftLeft<16>(word), hn::ShiftLeft<16>(in));
    AddByte(hn::ShiftLeft<8>(word), hn::ShiftLeft<8>(in));
    AddByte(word, in);
  }
  HWY_INLINE VI Total() const { return sum; }

 private:
  HWY_INLINE void AddByte(VI w, VI x) {
    sum = hn::Add(sum, hn::Mul(hn::ShiftRight<24>(w), hn::ShiftRight<24>(x)));
  }
};
using SmallSums = ByteSums;

#endif

#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
inline constexpr bool kHasFours = true;

// Words of bytes without a sign, four products at once by AVX-512 VNNI. Neither Highway 1.0 nor
// the target of its AVX-512 knows the instruction, so it is named here; whoever uses these sums has
// asked HasByteProducts().
struct FourSums {
  VI sum;
  HWY_INLINE void Clear() { sum = hn::Zero(DI()); }
  HWY_INLINE void Add(VI word, const int8_t* x) {
    const VI in = LoadFour(x);
    asm("vpdpbusd %2, %1, %0" : "+v"(sum.raw) : "v"(word.raw), "v"(in.raw));
  }
  HWY_INLINE VI Total() const { return sum; }
};

#else
inline constexpr bool kHasFours = false;
using FourSums = ByteSums;
#endif

// How numbers of kBits are multiplied: by kFours, or as the target can.
template <int kBits, bool kFours>
struct Numbers {
  using Sums =
      std::conditional_t<kFours, FourSums, std::conditional_t<kBits == 8, ByteSums, SmallSums>>;
  // Bytes with a sign become bytes without one.
  static constexpr bool kShift = kBits == 8 && kFours;
  // What is then in excess of each number, or was before.
  static constexpr int Excess(int zero) { return kShift ? 128 : zero; }

  static HWY_INLINE VI Load(const int32_t* from) {
    const VI word = hn::Load(DI(), from);
    if constexpr (!kShift) return word;
    return hn::Xor(word, hn::Set(DI(), static_cast<int32_t>(0x80808080u)));
  }
};

// Panels that are multiplied side by side, `stride` bytes apart, and how far ahead of what is
// multiplied the lines of each are asked for.
struct NumberStreams {
  int64_t stride;
  int64_t ahead;
};

// totals[r][2 p + j] = the products of kColumns columns of numbers (quant_panels.h) of panel p, as
// they lie there, with row r.
template <int kBits, bool kFours, int kColumns, int kRows, int kPanels>
HWY_INLINE void MultiplyNumbers(const std::byte* numbers, const NumberStreams& streams,
                                const int8_t* x, int64_t x_stride,
                                VI (&totals)[kRows][2 * kPanels]) {
  const DI di;
  static_assert(kBits == 8 || kColumns <= 32, "SmallSums hold no more");
  constexpr int kStep = 32 / kBits;
  constexpr int64_t kStepBytes = 2 * kLanes * static_cast<int64_t>(sizeof(int32_t));
  using N = Numbers<kBits, kFours>;
  typename N::Sums sums[kRows][2 * kPanels];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int j = 0; j < 2 * kPanels; ++j) sums[r][j].Clear();
  }
  const auto add = [&](int k) HWY_ATTR {
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) {
      const std::byte* const from = numbers + p * streams.stride + k / kStep * kStepBytes;
      for (int64_t line = 0; line < kStepBytes; line += 64) {
        hwy::Prefetch(from + streams.ahead + line);
      }
#pragma GCC unroll 2
      for (int j = 0; j < 2; ++j) {
        const VI word = N::Load(reinterpret_cast<const int32_t*>(from) + j * kLanes);
#pragma GCC unroll 16
        for (int r = 0; r < kRows; ++r) {
          auto& sum = sums[r][2 * p + j];
          const int8_t* const in = x + r * x_stride + k;
          if constexpr (kBits == 8) {
            sum.Add(word, in);
          } else {
            const VI low = hn::Set(di, 0x0f0f0f0f);
            sum.Add(hn::And(word, low), in);
            sum.Add(hn::And(hn::ShiftRight<4>(word), low), in + 4);
          }
        }
      }
    }
  };
  if constexpr (kFours) {  // left as a loop, it takes twice the time; the others gain nothing
#pragma GCC unroll 8
    for (int k = 0; k < kColumns; k += kStep) add(k);
  } else {
    for (int k = 0; k < kColumns; k += kStep) add(k);
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int j = 0; j < 2 * kPanels; ++j) totals[r][j] = sums[r][j].Total();
  }
}

}  // namespace pith::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // PITH_BACKENDS_CPU_QUANT_INL_H_
