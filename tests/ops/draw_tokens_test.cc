// Drawn tokens against the contract, told a second time by sorting (the reference backend), and on
// every device the same token to the last one.
#include "ops/draw_tokens.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "ops/token_weight.h"
#include "tests/ops/ops_testing.h"

namespace pith::ops_testing {
namespace {

TEST(DrawTokens, WithoutTemperatureTheFirstOfTheLargest) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const Exec& exec : ReferenceAndTested({1, 2})) {
    for (const int64_t vocab : {1, 7, 33, 1030, 50280}) {
      Random random(static_cast<uint32_t>(vocab));
      Strided logits(random, 6, vocab);
      std::vector<int32_t> expected(6, static_cast<int32_t>(vocab / 2)), out(6, -2);
      for (int64_t i = 0; i < 6; ++i) {
        logits.view().Row(i)[vocab / 2] = logits.view().Row(i)[vocab - 1] = 2;
      }
      logits.view().Row(1)[vocab - 1] = kNan;
      logits.view().Row(2)[0] = kInfinity;
      for (int64_t c = 0; c < vocab; ++c) logits.view().Row(3)[c] = -kInfinity;
      for (const int i : {1, 2, 3}) expected[i] = -1;
      for (int64_t c = 0; c < vocab; ++c) logits.view().Row(4)[c] = -3;
      expected[4] = 0;
      DrawTokens(exec, logits.view(), std::vector<DrawRow>(6), out);
      EXPECT_EQ(out, expected) << "vocab " << vocab;
    }
  }
}

// The error that the header states, and rounding down.
TEST(TokenWeight, IsTheExponential) {
  for (int i = 0; i <= 40000; ++i) {
    const double gap = -30.0 * i / 40000;
    const double exact = std::exp(gap) * 0x1p40;
    const auto weight = static_cast<double>(TokenWeight(gap));
    if (gap < -41 * std::log(2.0)) {
      EXPECT_EQ(weight, 0);
    } else {
      EXPECT_LE(weight, exact * (1 + 4e-13)) << gap;
      EXPECT_GT(weight, exact * (1 - 4e-13) - 1) << gap;
    }
  }
  EXPECT_EQ(TokenWeight(0), kFullTokenWeight);
  EXPECT_EQ(TokenWeight(-std::numeric_limits<double>::infinity()), 0);
}

// Rows of all kinds: spread, with many equals, flat, one that towers, with −∞ and with both zeros.
float LogitOf(int kind, int64_t j, std::mt19937_64& random) {
  const double uniform = static_cast<double>(random() >> 11) * 0x1p-53;
  switch (kind) {
    case 0:
      return static_cast<float>(30 * uniform - 15);
    case 1:
      return std::floor(static_cast<float>(6 * uniform));
    case 2:
      return 2.5f;
    case 3:
      return j == 17 ? 60.0f : static_cast<float>(uniform);
    case 4:
      return uniform < 0.5 ? -std::numeric_limits<float>::infinity() : static_cast<float>(uniform);
    default:
      return uniform < 0.3 ? -0.0f : uniform < 0.6 ? 0.0f : static_cast<float>(-9 * uniform);
  }
}

DrawRow SomeRule(std::mt19937_64& random) {
  const auto pick = [&](std::initializer_list<double> from) {
    return from.begin()[random() % from.size()];
  };
  return {.penalty = static_cast<float>(pick({1, 1.3})),
          .temperature = pick({0, 1e-3, 0.7, 1, 1, 3, 1e6, 1e-310}),
          .top_k = static_cast<int64_t>(pick({0, 0, 1, 2, 40, 1000000})),
          .top_p = pick({1, 1, 1e-9, 0.5, 0.95}),
          .min_p = pick({0, 0, 0.05, 1}),
          .random = random() % 7 == 0 ? (uint64_t{1} << 53) - 1 : random() >> 11};
}

TEST(DrawTokens, EveryDeviceDrawsTheSame) {
  std::mt19937_64 random(3);
  for (const int64_t vocab : {1, 2, 31, 1000, 5001, 50280}) {
    const int64_t rows = vocab > 10000 ? 48 : 300;
    Shared<float> logits(rows * vocab);
    std::vector<DrawRow> rules;
    const std::vector<int32_t> seen = {0, static_cast<int32_t>(vocab - 1)};
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < vocab; ++j) logits[i * vocab + j] = LogitOf(i % 6, j, random);
      if (i % 6 == 4) logits[i * vocab] = 1;  // so that the row has a finite largest
      rules.push_back(SomeRule(random));
      if (i % 3 == 0) rules.back().seen = {seen.data(), vocab > 1 ? size_t{2} : size_t{1}};
    }
    std::vector<std::vector<int32_t>> drawn;
    for (const Exec& exec : ReferenceAndTested({1, 2})) {
      Shared<float> copy = logits;
      drawn.emplace_back(rows, -2);
      DrawTokens(exec, {copy.data(), rows, vocab}, rules, drawn.back());
      // Alone, a row has the same token.
      copy = logits;
      const int64_t last = rows - 1;
      int32_t alone = -2;
      DrawTokens(exec, {copy.data() + last * vocab, 1, vocab}, {&rules[last], 1}, {&alone, 1});
      EXPECT_EQ(alone, drawn.back()[last]);
    }
    for (const std::vector<int32_t>& others : drawn) EXPECT_EQ(others, drawn[0]) << vocab;
    for (const int32_t id : drawn[0]) EXPECT_TRUE(id >= 0 && id < vocab);
  }
}

// The cut points of the distribution by hand: ids 2, 0, 3, 1 in this order, of 8, 4, 2, 1 parts.
TEST(DrawTokens, ADrawIsTheInverseOfTheDistributionByRank) {
  const auto log2 = static_cast<float>(std::log(2.0));
  const std::vector<float> logits = {-log2, -3 * log2, 0, -2 * log2};  // ½, ⅛, 1, ¼ of the largest
  for (const Exec& exec : ReferenceAndTested({1})) {
    for (const auto& [share, id] :
         {std::pair{0.0, 2}, {0.53, 2}, {0.54, 0}, {0.79, 0}, {0.81, 3}, {0.93, 3}, {0.94, 1}}) {
      Shared<float> row(logits.begin(), logits.end());
      const DrawRow rule{.temperature = 1, .random = static_cast<uint64_t>(share * 0x1p53)};
      int32_t drawn = -2;
      DrawTokens(exec, {row.data(), 1, 4}, {&rule, 1}, {&drawn, 1});
      EXPECT_EQ(drawn, id) << share;
    }
  }
}

}  // namespace
}  // namespace pith::ops_testing
