// Vector functions of the CPU backend, compiled once per SIMD target.
#if defined(PITH_BACKENDS_CPU_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PITH_BACKENDS_CPU_MATH_INL_H_
#undef PITH_BACKENDS_CPU_MATH_INL_H_
#else
#define PITH_BACKENDS_CPU_MATH_INL_H_
#endif

#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "backends/cpu/kernels.h"
#include "core/dtype.h"

HWY_BEFORE_NAMESPACE();
namespace pith::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;
inline constexpr int64_t kLanes = hn::MaxLanes(D());

// Calls fn(d, i) for whole vectors from i = 0, then lane by lane for the rest: nothing beyond n is
// touched, and an element's place alone decides how it is computed.
template <class Fn>
HWY_INLINE void ForVectors(int64_t n, Fn&& fn) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) fn(D(), i);
  for (; i < n; ++i) fn(hn::CappedTag<float, 1>(), i);
}

// eˣ. Max error: ULP = 2; 0 below −87.336, where the result would be subnormal; the largest finite
// value from 88.72 on. NaN stays NaN: Min and Max return their second argument where one is NaN.
template <class Tag>
HWY_INLINE hn::Vec<Tag> FastExp(Tag d, hn::Vec<Tag> x) {
  const hn::RebindToSigned<Tag> di;
  const auto low = hn::Set(d, -87.336f);
  const auto bounded = hn::Min(hn::Set(d, 88.72f), hn::Max(low, x));
  // x = n ln 2 + r, |r| ≤ ln 2 / 2; ln 2 in two parts, of which n times the first is exact.
  const auto n = hn::Round(hn::Mul(bounded, hn::Set(d, 1.44269504f)));
  auto r = hn::NegMulAdd(n, hn::Set(d, 0.693359375f), bounded);
  r = hn::NegMulAdd(n, hn::Set(d, -2.12194440e-4f), r);
  // eʳ = 1 + r + r² q(r): relative minimax of degree 6, error 4e-9 before rounding.
  auto q = hn::Set(d, 1.3814538e-3f);
  q = hn::MulAdd(q, r, hn::Set(d, 8.368745e-3f));
  q = hn::MulAdd(q, r, hn::Set(d, 4.166839e-2f));
  q = hn::MulAdd(q, r, hn::Set(d, 1.6666521e-1f));
  q = hn::MulAdd(q, r, hn::Set(d, 4.9999994e-1f));
  q = hn::MulAdd(q, r, hn::Set(d, 1.0f));
  q = hn::MulAdd(q, r, hn::Set(d, 1.0f));
  const auto shift = hn::ShiftLeft<23>(hn::ConvertTo(di, n));
  const auto scaled = hn::BitCast(d, hn::Add(hn::BitCast(di, q), shift));
  return hn::IfThenZeroElse(hn::Lt(x, low), scaled);
}

// 2ˣ for x ≤ 0. Max error: ULP = 2, and below x = −126 no more than 2⁻¹²⁶; exactly 0 from −127 on.
// NaN stays NaN, as above.
template <class Tag>
HWY_INLINE hn::Vec<Tag> FastExp2OfNegative(Tag d, hn::Vec<Tag> x) {
  const hn::RebindToUnsigned<Tag> du;
  const auto bounded = hn::Max(hn::Set(d, -127.0f), x);
  // Adding 1.5 · 2²³ + 127 rounds x to an integer n and leaves n + 127, the exponent of 2ⁿ, in the
  // low bits; a conversion would cost four operations more.
  const auto magic = hn::Set(d, 12583039.0f);
  const auto shifted = hn::Add(bounded, magic);
  const auto r = hn::Sub(bounded, hn::Sub(shifted, magic));
  // 2ʳ = 1 + r q(r) on |r| ≤ 1/2: relative minimax of degree 6, error 1e-8 before rounding.
  auto q = hn::Set(d, 1.53533096e-04f);
  q = hn::MulAdd(q, r, hn::Set(d, 1.33989390e-03f));
  q = hn::MulAdd(q, r, hn::Set(d, 9.61843785e-03f));
  q = hn::MulAdd(q, r, hn::Set(d, 5.55033237e-02f));
  q = hn::MulAdd(q, r, hn::Set(d, 2.40226477e-01f));
  q = hn::MulAdd(q, r, hn::Set(d, 6.93147182e-01f));
  q = hn::MulAdd(q, r, hn::Set(d, 1.0f));
  return hn::Mul(q, hn::BitCast(d, hn::ShiftLeft<23>(hn::BitCast(du, shifted))));
}

// x / (1 + e⁻ˣ).
template <class Tag>
HWY_INLINE hn::Vec<Tag> Silu(Tag d, hn::Vec<Tag> x) {
  return hn::Div(x, hn::Add(hn::Set(d, 1.0f), FastExp(d, hn::Neg(x))));
}

// x Φ(x). Φ(−|x|) = e^(−x²/2) t P(t) / 2 with t = 1 / (1 + 0.35 z), z = |x| / √2: P is a relative
// minimax of degree 9 for erfc(z) e^(z²) / t on 0 ≤ z ≤ 9.5, error 7e-9 before rounding. So the
// relative error is below (x² / 2 + 16) · 2⁻²⁴, the first part being that of x²'s rounding; beyond
// the range of e^(−x²/2) the result is 0 or x.
template <class Tag>
HWY_INLINE hn::Vec<Tag> Gelu(Tag d, hn::Vec<Tag> x) {
  constexpr float kP[] = {1.9748822e-1f,  1.9705831e-1f, 1.8852367e-1f,  1.4846204e-1f,
                          1.5348889e-1f,  7.3838539e-2f, -1.2576434e-2f, 1.7058232e-1f,
                          -1.5447418e-1f, 3.7608642e-2f};
  const auto one = hn::Set(d, 1.0f);
  const auto t = hn::Div(one, hn::MulAdd(hn::Abs(x), hn::Set(d, 0.35f * 0.70710678f), one));
  auto p = hn::Set(d, kP[9]);
  for (int i = 8; i >= 0; --i) p = hn::MulAdd(p, t, hn::Set(d, kP[i]));
  const auto half = hn::Set(d, 0.5f);
  const auto e = FastExp(d, hn::Neg(hn::Mul(hn::Mul(x, half), x)));
  const auto beyond = hn::Mul(hn::Mul(e, hn::Mul(half, t)), p);  // Φ(−|x|)
  return hn::Mul(x, hn::IfThenElse(hn::Lt(x, hn::Zero(d)), beyond, hn::Sub(one, beyond)));
}

// log(1 + eˣ), without overflow and without cancellation at either end.
template <class Tag>
HWY_INLINE hn::Vec<Tag> Softplus(Tag d, hn::Vec<Tag> x) {
  return hn::Add(hn::Max(hn::Zero(d), x), hn::Log1p(d, FastExp(d, hn::Neg(hn::Abs(x)))));
}

// softplus(x) within [least, most], the step size Δ of Mamba-2; NaN stays NaN.
template <class Tag>
HWY_INLINE hn::Vec<Tag> StepSize(Tag d, hn::Vec<Tag> x, float least, float most) {
  const auto within = hn::Min(hn::Max(Softplus(d, x), hn::Set(d, least)), hn::Set(d, most));
  return hn::IfThenElse(hn::IsNaN(x), x, within);
}

// Rounds to the nearest bf16, ties to even; NaN stays NaN. The low halves are 0.
template <class Tag>
HWY_INLINE hn::Vec<Tag> RoundToBF16(Tag d, hn::Vec<Tag> x) {
  const hn::RebindToUnsigned<Tag> du;
  const auto bits = hn::BitCast(du, x);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1));
  const auto up = hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7fff)));
  const auto quiet = hn::Or(bits, hn::Set(du, 0x400000));
  const auto rounded = hn::IfThenElse(hn::IsNaN(x), hn::BitCast(d, quiet), hn::BitCast(d, up));
  return hn::BitCast(d, hn::And(hn::BitCast(du, rounded), hn::Set(du, 0xffff0000u)));
}

template <class Tag>
HWY_INLINE hn::Vec<Tag> LoadWide(Tag d, const float* from) {
  return hn::LoadU(d, from);
}
template <class Tag>
HWY_INLINE hn::Vec<Tag> LoadWide(Tag d, const BF16* from) {
  const hn::Rebind<hwy::bfloat16_t, Tag> narrow;
  return hn::PromoteTo(d, hn::LoadU(narrow, reinterpret_cast<const hwy::bfloat16_t*>(from)));
}
template <class Tag>
HWY_INLINE hn::Vec<Tag> LoadWide(Tag d, const F16* from) {
  const hn::Rebind<hwy::float16_t, Tag> narrow;
  return hn::PromoteTo(d, hn::LoadU(narrow, reinterpret_cast<const hwy::float16_t*>(from)));
}

// A vector of pairs, whose bits it is.
template <class Tag>
HWY_INLINE hn::Vec<Tag> LoadWide(Tag d, const BF16Pair* from) {
  return hn::LoadU(d, reinterpret_cast<const float*>(from));
}
template <class Tag>
HWY_INLINE hn::Vec<Tag> LoadWide(Tag d, const F16Pair* from) {
  return hn::LoadU(d, reinterpret_cast<const float*>(from));
}

// Lanes of two vectors of rounded floats as pairs.
HWY_INLINE V PairOf(V first, V second) {
  const hn::RebindToUnsigned<D> du;
  const auto low = hn::ShiftRight<16>(hn::BitCast(du, first));
  return hn::BitCast(D(), hn::Or(low, hn::BitCast(du, second)));
}

#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
// Two vectors, one behind the other, as pairs of neighbours. To bf16 by AVX-512 BF16's own
// conversion, so only where HasBF16Products(): numbers below 2⁻¹²⁶ become 0, as they do in products
// of pairs.
template <class Pair>
HWY_INLINE V RoundNeighbours(V first, V second) {
  if constexpr (std::is_same_v<Pair, F16Pair>) {
    const hn::Rebind<hwy::float16_t, D> narrow;
    const hn::RebindToUnsigned<decltype(narrow)> bits;
    const hn::RepartitionToNarrow<hn::RebindToUnsigned<D>> halves;
    const auto low = hn::BitCast(bits, hn::DemoteTo(narrow, first));
    const auto high = hn::BitCast(bits, hn::DemoteTo(narrow, second));
    return hn::BitCast(D(), hn::Combine(halves, high, low));
  }
  V pairs;
  asm("vcvtne2ps2bf16 %2, %1, %0" : "=v"(pairs.raw) : "v"(second.raw), "v"(first.raw));
  return pairs;
}
// Lanes of two vectors as pairs.
template <class Pair>
HWY_INLINE V RoundPair(V first, V second) {
  alignas(64) static constexpr uint16_t kInterleaved[32] = {
      0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
      8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  const hn::RepartitionToNarrow<hn::RebindToUnsigned<D>> narrow;
  const auto order = hn::Load(narrow, kInterleaved);
  V pairs = RoundNeighbours<Pair>(first, second);
  asm("vpermw %0, %1, %0" : "+v"(pairs.raw) : "v"(order.raw));
  return pairs;
}
#endif

// n floats as pairs of neighbours, an odd last one with 0: to [⌈n / 2⌉]. Of f16 times `scale`.
template <class Pair>
void RoundPairs(const float* from, int64_t n, float scale, float* to) {
  auto* const halves = reinterpret_cast<uint16_t*>(to);
  ForVectors(n, [&](auto d, int64_t i) HWY_ATTR {
    const auto v = hn::LoadU(d, from + i);
    if constexpr (std::is_same_v<Pair, F16Pair>) {
      const hn::Rebind<hwy::float16_t, decltype(d)> narrow;
      auto* const at = reinterpret_cast<hwy::float16_t*>(halves + i);
      hn::StoreU(hn::DemoteTo(narrow, hn::Mul(v, hn::Set(d, scale))), narrow, at);
    } else {
      const hn::Rebind<hwy::bfloat16_t, decltype(d)> narrow;
      auto* const at = reinterpret_cast<hwy::bfloat16_t*>(halves + i);
      hn::StoreU(hn::DemoteTo(narrow, RoundToBF16(d, v)), narrow, at);
    }
  });
  if (n % 2 != 0) std::memset(halves + n, 0, sizeof *halves);
}

}  // namespace pith::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // PITH_BACKENDS_CPU_MATH_INL_H_
