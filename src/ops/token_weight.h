// How likely a token is beside the most likely one, as a whole number that every device agrees on.
#ifndef PITH_OPS_TOKEN_WEIGHT_H_
#define PITH_OPS_TOKEN_WEIGHT_H_

#include <cstdint>

#ifdef __CUDACC__
#define PITH_HOST_DEVICE __host__ __device__
#else
#define PITH_HOST_DEVICE
#endif

namespace pith {

// The weight of the most likely token. 2²³ of them still fit into 64 bits.
constexpr uint64_t kFullTokenWeight = uint64_t{1} << 40;

// a · b + c with both results rounded: a fused operation would give other bits where it exists.
// The host's files are compiled without contraction.
PITH_HOST_DEVICE inline double MultiplyThenAdd(double a, double b, double c) {
#ifdef __CUDA_ARCH__
  return __dadd_rn(__dmul_rn(a, b), c);
#else
  return a * b + c;
#endif
}

// 2⁴⁰ · e^gap, rounded down, for gap ≤ 0; 0 below −41 ln 2. Before it is rounded its error is less
// than 4e-13 of itself: 2^f = Σ_k (f ln 2)^k / k! up to k = 10 for |f| ≤ 1/2.
PITH_HOST_DEVICE inline uint64_t TokenWeight(double gap) {
  constexpr double kTerms[] = {7.0549116208011233e-09,
                               1.0178086009239699e-07,
                               1.3215486790144309e-06,
                               1.5252733804059841e-05,
                               1.5403530393381610e-04,
                               1.3333558146428443e-03,
                               9.6181291076284772e-03,
                               5.5504108664821580e-02,
                               2.4022650695910072e-01,
                               6.9314718055994531e-01,
                               1.0};
  const double binary = MultiplyThenAdd(gap, 1.4426950408889634, 0);
  if (!(binary > -41)) return 0;
  const int whole = static_cast<int>(binary - 0.5);  // toward zero: to the nearest, as binary ≤ 0
  const double f = binary - whole;
  double power = kTerms[0];
  for (int k = 1; k < 11; ++k) power = MultiplyThenAdd(power, f, kTerms[k]);
  // 2^whole, built from its exponent; the product is exact.
  const uint64_t scale = kFullTokenWeight >> -whole;
  return scale > 0 ? static_cast<uint64_t>(power * static_cast<double>(scale)) : 0;
}

// The weight at which a share of `sum` is reached.
PITH_HOST_DEVICE inline uint64_t ShareOf(uint64_t sum, double share) {
  if (share >= 1) return sum;
  const double wanted = static_cast<double>(sum) * share;
  const auto below = static_cast<uint64_t>(wanted);
  const uint64_t reached = static_cast<double>(below) < wanted ? below + 1 : below;
  return reached < 1 ? 1 : reached < sum ? reached : sum;
}

// ⌊random · sum / 2⁵³⌋ for random < 2⁵³.
PITH_HOST_DEVICE inline uint64_t DrawBelow(uint64_t sum, uint64_t random) {
#ifdef __CUDA_ARCH__
  return __umul64hi(random << 11, sum);
#else
  __extension__ using Wide = unsigned __int128;
  return static_cast<uint64_t>((static_cast<Wide>(random) * sum) >> 53);
#endif
}

// Ranks as the number does: the larger float has the larger key; −0 and 0 have the same.
PITH_HOST_DEVICE inline uint32_t RankKey(float logit) {
  const float value = logit + 0.0f;
#ifdef __CUDA_ARCH__
  const uint32_t bits = __float_as_uint(value);
#else
  const uint32_t bits = __builtin_bit_cast(uint32_t, value);
#endif
  return bits >> 31 != 0 ? ~bits : bits | 0x80000000U;
}

}  // namespace pith

#endif  // PITH_OPS_TOKEN_WEIGHT_H_
