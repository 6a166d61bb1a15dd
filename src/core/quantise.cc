#include "core/quantise.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/blocks.h"
#include "core/dtype.h"
#include "core/error.h"

namespace pith {
namespace {

float Largest(std::span<const float> values) {
  float most = 0;
  for (const float v : values) most = std::max(most, std::abs(v));
  return most;
}

// To nearest, halves to even, of magnitudes below 2²²: what lies behind the point has no place
// left. A vector instruction, which nearbyint is not on every processor.
float RoundEven(float value) { return (value + 0x1.8p23f) - 0x1.8p23f; }

constexpr int kQ4Values = BlockOf(DType::kQ4_0).values;

// Sums over a block's q for a scale of 1 / inverse, of which the best scale is products / squares,
// and the squared error that it leaves Σw² − products² / squares.
struct Q4Fit {
  float inverse = 0;
  float products = 0;
  float squares = 0;

  float gain() const { return squares > 0 ? products * products / squares : 0; }
};

float Q4Number(float w, float inverse) {
  return RoundEven(std::min(7.0f, std::max(-8.0f, w * inverse)));
}

Q4Fit Fit(const float* w, float inverse) {
  constexpr int kSums = 8;  // side by side, so that the loop becomes vector instructions
  float products[kSums] = {}, squares[kSums] = {};
  for (int i = 0; i < kQ4Values; i += kSums) {
    for (int j = 0; j < kSums; ++j) {
      const float q = Q4Number(w[i + j], inverse);
      products[j] += w[i + j] * q;
      squares[j] += q * q;
    }
  }
  Q4Fit fit{.inverse = inverse};
  for (int j = 0; j < kSums; ++j) {
    fit.products += products[j];
    fit.squares += squares[j];
  }
  return fit;
}

// The extreme value at −8 leaves the other sign 7 of 8 steps, and the other way round; beyond 8 it
// is cut off, which pays where it stands alone.
Q4Fit BestFit(const float* w) {
  const float* const extreme = std::max_element(
      w, w + kQ4Values, [](float a, float b) { return std::abs(a) < std::abs(b); });
  Q4Fit best;
  if (std::abs(*extreme) < 0x1p-60f) return best;  // whose squares are no normal numbers
  for (int i = -6; i <= 6; ++i) {
    for (const float sign : {-1.0f, 1.0f}) {
      const Q4Fit fit = Fit(w, sign * (8.0f + 0.2f * static_cast<float>(i)) / *extreme);
      if (fit.gain() > best.gain()) best = fit;
    }
  }
  return best;
}

}  // namespace

float QuantiseRow(std::span<const float> row, int8_t* q) {
  const float scale = Largest(row) / 127.0f;
  const bool normal = scale >= std::numeric_limits<float>::min();
  for (size_t i = 0; i < row.size(); ++i) {
    q[i] = normal ? static_cast<int8_t>(RoundEven(row[i] / scale)) : int8_t{0};
  }
  return normal ? scale : 0.0f;
}

void QuantiseQ4_0(std::span<const float> from, std::byte* to) {
  PITH_CHECK(from.size() % kQ4Values == 0);
  for (; !from.empty(); from = from.subspan(kQ4Values)) {
    const Q4Fit fit = BestFit(from.data());
    const F16 scale = ToF16(fit.squares > 0 ? fit.products / fit.squares : 0.0f);
    *to++ = static_cast<std::byte>(scale.bits & 0xff);
    *to++ = static_cast<std::byte>(scale.bits >> 8);
    const auto number = [&](int i) { return static_cast<int>(Q4Number(from[i], fit.inverse)) + 8; };
    for (int i = 0; i < kQ4Values / 2; ++i) {
      *to++ = static_cast<std::byte>(number(i) | number(i + kQ4Values / 2) << 4);
    }
  }
}

ActivationGroup QuantiseActivations(std::span<const float> x) {
  PITH_CHECK(std::ssize(x) <= kActivationGroup);
  ActivationGroup group;
  bool finite = true;
  for (const float v : x) finite = finite && std::isfinite(v);
  if (!finite) {
    group.scale = std::numeric_limits<float>::quiet_NaN();
    return group;
  }
  const float most = Largest(x);
  if (most < 0x1p-100f) return group;
  group.scale = most / 127.0f;
  const float inverse = 127.0f / most;
  for (size_t i = 0; i < x.size(); ++i) {
    group.q[i] = static_cast<int16_t>(RoundEven(x[i] * inverse));
  }
  return group;
}

}  // namespace pith
