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

constexpr int kQ4Values = BlockOf(DType::kQ4_0).values;

struct Q4Block {
  F16 scale;
  int8_t q[kQ4Values];  // −8 to 7
  double error = std::numeric_limits<double>::infinity();
};

// q for a scale of 1 / inverse, and the scale that fits them best.
Q4Block Fit(std::span<const float> w, float inverse) {
  Q4Block block;
  double products = 0, squares = 0;
  for (int i = 0; i < kQ4Values; ++i) {
    const float rounded = std::nearbyint(w[i] * inverse);
    block.q[i] = static_cast<int8_t>(std::clamp(rounded, -8.0f, 7.0f));
    products += static_cast<double>(w[i]) * block.q[i];
    squares += block.q[i] * block.q[i];
  }
  block.scale = ToF16(squares > 0 ? static_cast<float>(products / squares) : 0.0f);
  const double scale = ToFloat(block.scale);
  double error = 0;
  for (int i = 0; i < kQ4Values; ++i) {
    const double difference = scale * block.q[i] - w[i];
    error += difference * difference;
  }
  block.error = error;
  return block;
}

Q4Block BestFit(std::span<const float> w) {
  const float extreme =
      *std::ranges::max_element(w, {}, [](float value) { return std::abs(value); });
  Q4Block best = Fit(w, 0);
  // The extreme value at −8 leaves the other sign 7 of 8 steps, and the other way round; nearer to
  // 0 it is cut off, which pays where it stands alone.
  for (int i = -12; i <= 12 && extreme != 0; ++i) {
    for (const float sign : {-1.0f, 1.0f}) {
      const Q4Block block = Fit(w, sign * (8.0f + 0.1f * static_cast<float>(i)) / extreme);
      if (block.error < best.error) best = block;
    }
  }
  return best;
}

}  // namespace

float QuantiseRow(std::span<const float> row, int8_t* q) {
  const float scale = Largest(row) / 127.0f;
  const bool normal = scale >= std::numeric_limits<float>::min();
  for (size_t i = 0; i < row.size(); ++i) {
    q[i] = normal ? static_cast<int8_t>(std::clamp(std::nearbyint(row[i] / scale), -127.0f, 127.0f))
                  : int8_t{0};
  }
  return normal ? scale : 0.0f;
}

void QuantiseQ4_0(std::span<const float> from, std::byte* to) {
  PITH_CHECK(from.size() % kQ4Values == 0);
  for (; !from.empty(); from = from.subspan(kQ4Values)) {
    const Q4Block block = BestFit(from.first(kQ4Values));
    *to++ = static_cast<std::byte>(block.scale.bits & 0xff);
    *to++ = static_cast<std::byte>(block.scale.bits >> 8);
    for (int i = 0; i < kQ4Values / 2; ++i) {
      *to++ = static_cast<std::byte>((block.q[i] + 8) | (block.q[i + kQ4Values / 2] + 8) << 4);
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
    group.q[i] = static_cast<int16_t>(std::nearbyint(x[i] * inverse));
  }
  return group;
}

}  // namespace pith
