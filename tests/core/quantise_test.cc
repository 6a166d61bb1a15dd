// Rounding to few bits, from its definition: errors are at most half a step, extremes keep their
// place, and the search of a scale never loses to the plain choice.
#include "core/quantise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "core/blocks.h"

namespace pith {
namespace {

std::vector<float> Normal(uint32_t seed, size_t count) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& v : values) v = normal(engine);
  return values;
}

TEST(QuantiseRow, RoundsToHalfAStep) {
  const std::vector<float> row = Normal(1, 1000);
  std::vector<int8_t> q(row.size());
  const float scale = QuantiseRow(row, q.data());
  int largest = 0;
  for (size_t i = 0; i < row.size(); ++i) {
    // The quotient that is rounded has an error of its own, of 2⁻²⁴ · 127 steps at most.
    EXPECT_LE(std::abs(row[i] - static_cast<double>(scale) * q[i]), scale * (0.5 + 127 * 0x1p-24));
    largest = std::max(largest, std::abs(q[i]));
  }
  EXPECT_EQ(largest, 127);
}

TEST(QuantiseRow, RowsOfNothingAreZeros) {
  for (const float tiny : {0.0f, 1e-40f, 0x1p-120f}) {
    const std::vector<float> row = {tiny, -tiny, 0};
    std::vector<int8_t> q(3, 1);
    EXPECT_EQ(QuantiseRow(row, q.data()), 0);
    EXPECT_EQ(q, std::vector<int8_t>(3, 0));
  }
}

double SquaredError(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += std::pow(static_cast<double>(a[i]) - b[i], 2);
  return sum;
}

// ggml's choice: the largest value, with its sign, at −8. The scale is not rounded.
std::vector<float> PlainQ4_0(const std::vector<float>& w) {
  float extreme = 0;
  for (const float v : w) extreme = std::abs(v) > std::abs(extreme) ? v : extreme;
  const float inverse = -8.0f / extreme;
  std::vector<float> out;
  for (const float v : w) {
    const float q = std::nearbyint(std::min(7.0f, std::max(-8.0f, v * inverse)));
    out.push_back(q * (extreme / -8.0f));
  }
  return out;
}

// The plain scale is one of those tried, and the one kept is refitted, so it loses no block but by
// what f16 rounds the scale by (Σq² scale² 2⁻²², at most 1.5 Σw² 2⁻²²) and f32 the sums (64 terms).
TEST(QuantiseQ4_0, NeverLosesToThePlainScale) {
  double searched = 0, plain = 0;
  for (uint32_t seed = 0; seed < 200; ++seed) {
    const std::vector<float> w = Normal(seed, 32);
    std::vector<std::byte> block(BytesOf(DType::kQ4_0, 32));
    QuantiseQ4_0(w, block.data());
    std::vector<float> back(32);
    Widen(DType::kQ4_0, block.data(), back);
    const double squares = SquaredError(w, std::vector<float>(32, 0.0f));
    const double error = SquaredError(w, back);
    EXPECT_LE(error, SquaredError(w, PlainQ4_0(w)) + squares * (1.5 * 0x1p-22 + 64 * 0x1p-24));
    searched += error;
    plain += SquaredError(w, PlainQ4_0(w));
  }
  EXPECT_LT(searched, plain);
}

TEST(QuantiseQ4_0, KeepsWhatItHolds) {
  std::vector<float> w(64), back(64);
  for (int i = 0; i < 32; ++i) w[i] = 0.25f * static_cast<float>(i % 16 - 8);
  std::vector<std::byte> blocks(BytesOf(DType::kQ4_0, 64));
  QuantiseQ4_0(w, blocks.data());  // the second block is zeros
  Widen(DType::kQ4_0, blocks.data(), back);
  EXPECT_EQ(back, w);
}

TEST(QuantiseActivations, RoundsToHalfAStep) {
  for (size_t count : {1, 5, 32}) {
    const std::vector<float> x = Normal(3, count);
    const ActivationGroup group = QuantiseActivations(x);
    for (size_t i = 0; i < 32; ++i) {
      const double expected = i < count ? x[i] : 0;
      EXPECT_LE(std::abs(expected - static_cast<double>(group.scale) * group.q[i]),
                group.scale * (0.5 + 127 * 0x1p-22));
      EXPECT_LE(std::abs(group.q[i]), 127);
    }
  }
}

TEST(QuantiseActivations, WhatIsNotFiniteSpoilsItsGroup) {
  for (const float bad :
       {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    std::vector<float> x = Normal(4, 32);
    x[17] = bad;
    const ActivationGroup group = QuantiseActivations(x);
    EXPECT_TRUE(std::isnan(group.scale));
    for (const int16_t q : group.q) EXPECT_EQ(q, 0);
  }
  EXPECT_EQ(QuantiseActivations(std::vector<float>(32, 0x1p-101f)).scale, 0);
}

}  // namespace
}  // namespace pith
