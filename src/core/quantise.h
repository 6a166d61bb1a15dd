// Rounding of weights and activations to few bits.
#ifndef PITH_CORE_QUANTISE_H_
#define PITH_CORE_QUANTISE_H_

#include <cstddef>
#include <cstdint>
#include <span>

namespace pith {

// A row of weights to int8 with one scale: s = max |w| / 127, q = w / s to nearest, halves to even.
// Values are finite. A row whose s is not a normal number (all |w| below 2⁻¹¹⁸) becomes zeros with
// scale 0.
float QuantiseRow(std::span<const float> row, int8_t* q);

// Rows of weights to Q4_0 (core/blocks.h), 32 values a scale. Of 26 scales that put the largest
// value between 6.8 and 9.2 steps, of either sign, the one is kept whose squared error is least
// once it is refitted to its q by least squares; then it is rounded to f16. Ties go to the first.
// Values are finite and at most 6 · 65504 in magnitude.
void QuantiseQ4_0(std::span<const float> from, std::byte* to);

// Activations are quantised as products with quantised weights need them, 32 side by side.
inline constexpr int64_t kActivationGroup = 32;

struct ActivationGroup {
  float scale = 0;
  int16_t q[kActivationGroup] = {};  // −127 to 127
};

// The rule, and every backend's bits: with m the largest |x|, scale = m / 127 and
// q = x · (127 / m) to nearest, halves to even; zeros where m < 2⁻¹⁰⁰. Up to 32 values, the rest
// are 0. Where a value is NaN or infinite, the scale is NaN and every q is 0.
ActivationGroup QuantiseActivations(std::span<const float> x);

}  // namespace pith

#endif  // PITH_CORE_QUANTISE_H_
