// FarWeights against the reference.
//
// Bound: with |dt + bias| ≤ 9, Δ in f32 has a relative error of at most 9 roundings through the
// argument and 6 of its own: r = 15 · 2⁻²⁴. The exponent T = Σ Δ a then errs by at most r · |T| and
// the exponential by the same, relatively; a weight adds Δ's own error, 2 units in the last place
// (4 roundings) of a vector exponential and one rounding for each of two products.
#include "ops/far_weights.h"

#include "tests/ops/ops_testing.h"

namespace pith::ops_testing {
namespace {

class FarWeightsTest : public ::testing::Test {};

struct Result {
  Strided weight;
  Shared<float> decay;
  std::vector<double> chunk_decay, chunk_mass;
};

Result Weigh(const Exec& exec, const FarRegion& region, const Strided& dt,
             const Shared<float>& bias, const Shared<float>& a, float dt_max) {
  const auto heads = static_cast<int64_t>(a.size());
  const int64_t pairs = heads * CountChunks(region);
  Result r{.weight = Strided(heads, region.far),
           .decay = Shared<float>(heads),
           .chunk_decay = std::vector<double>(pairs),
           .chunk_mass = std::vector<double>(pairs)};
  FarWeights(exec, {.region = region,
                    .dt = dt.view(),
                    .dt_bias = {bias.data(), heads},
                    .dt_min = 1e-3f,
                    .dt_max = dt_max,
                    .a = {a.data(), heads},
                    .weight = r.weight.view(),
                    .decay = {r.decay.data(), heads},
                    .chunk_decay = r.chunk_decay,
                    .chunk_mass = r.chunk_mass});
  r.weight.CheckPadding();
  return r;
}

TEST_F(FarWeightsTest, AgreesWithReference) {
  for (const int64_t far : {1, 7, 8, 9, 100, 257, 1000}) {
    for (const int64_t heads : {1, 3, 24}) {
      for (const int64_t chunk : {1, 8, 64, 300, 512}) {
        const FarRegion region{.far = far, .chunk = chunk};
        const auto seed = static_cast<uint32_t>(far * 59 + heads);
        SCOPED_TRACE(StrCat("seed ", seed, ", far ", far, ", heads ", heads, ", chunk ", chunk));
        Random random(seed);
        const Strided dt(random, far, heads, -8, 3);
        const Shared<float> bias = random.Vector(heads), a = random.Vector(heads, -2, -0.01f);
        const Result expected = Weigh(kReference, region, dt, bias, a, 2);
        const Result actual = Weigh(Tested(1), region, dt, bias, a, 2);
        const Result threads = Weigh(Tested(3), region, dt, bias, a, 2);
        ExpectSameBits(threads.weight.view(), actual.weight.view());
        EXPECT_EQ(threads.chunk_mass, actual.chunk_mass);
        const double r = 15 * kRounding;
        const auto relative = [&](int64_t h) {
          return 1.01 * r * (1 + std::abs(std::log(static_cast<double>(expected.decay[h])))) +
                 (4 + 2) * kRounding;
        };
        const int64_t chunks = CountChunks(region);
        for (int64_t h = 0; h < heads; ++h) {
          if (expected.decay[h] < 1e-30f) continue;  // near subnormal, where errors are absolute
          EXPECT_NEAR(actual.decay[h], expected.decay[h], relative(h) * expected.decay[h]);
          for (int64_t t = 0; t < far; ++t) {
            ASSERT_NEAR(actual.weight.At(h, t), expected.weight.At(h, t),
                        relative(h) * expected.weight.At(h, t));
          }
          for (int64_t i = h * chunks; i < (h + 1) * chunks; ++i) {
            ASSERT_NEAR(actual.chunk_decay[i], expected.chunk_decay[i],
                        relative(h) * expected.chunk_decay[i]);
            ASSERT_NEAR(actual.chunk_mass[i], expected.chunk_mass[i],
                        relative(h) * expected.chunk_mass[i]);
          }
        }
      }
    }
  }
}

// What is not a number, or beyond all numbers, does not become one that could be.
TEST_F(FarWeightsTest, NaNAndHugeSteps) {
  constexpr int64_t kFar = 20;
  const FarRegion region{.far = kFar, .chunk = 8};
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const Shared<float> bias = {0, 0}, a = {-4, -4};
  Strided dt(kFar, 2);
  for (int64_t t = 0; t < kFar; ++t) dt.view().Row(t)[0] = dt.view().Row(t)[1] = 0.5f;
  dt.view().Row(10)[0] = nan;
  dt.view().Row(10)[1] = 1e38f;
  for (const Exec& exec : ReferenceAndTested()) {
    const Result r = Weigh(exec, region, dt, bias, a, std::numeric_limits<float>::infinity());
    for (int64_t t = 0; t < kFar; ++t) {
      EXPECT_EQ(std::isnan(r.weight.At(0, t)), t <= 10) << t;
      EXPECT_EQ(r.weight.At(1, t) > 0, t >= 10) << t;
      if (t < 10) {
        EXPECT_EQ(r.weight.At(1, t), 0) << t;
      }
    }
    EXPECT_TRUE(std::isnan(r.decay[0]));
    EXPECT_EQ(r.decay[1], 0);
  }
}

// By the definition, one sum a row, for steps that softplus leaves as they are (Δ = dt above 50).
TEST(FarWeights, EqualTheirDefinition) {
  const FarRegion region{.far = 5, .chunk = 2};
  const Shared<float> dt = {60, 50, 80, 55, 70}, bias = {0}, a = {-0.01f};
  Shared<float> weight(5), decay(1);
  double chunk_decay[3], chunk_mass[3];
  for (const Exec& exec : ReferenceAndTested()) {
    FarWeights(exec, {.region = region,
                      .dt = {dt.data(), 5, 1},
                      .dt_bias = Vec(bias),
                      .a = Vec(a),
                      .weight = {weight.data(), 1, 5},
                      .decay = {decay.data(), 1},
                      .chunk_decay = chunk_decay,
                      .chunk_mass = chunk_mass});
    const double after[] = {2.55, 2.05, 1.25, 0.7, 0};
    for (int t = 0; t < 5; ++t) {
      EXPECT_NEAR(weight[t], dt[t] * std::exp(-after[t]), 1e-6 * dt[t]);
    }
    EXPECT_NEAR(decay[0], std::exp(-3.15), 1e-6);
    EXPECT_NEAR(chunk_decay[0], std::exp(-2.55), 1e-6);
    EXPECT_NEAR(chunk_decay[1], std::exp(-1.25), 1e-6);
    EXPECT_EQ(chunk_decay[2], 1);
    EXPECT_NEAR(chunk_mass[1], double{weight[1]} + weight[2], 1e-5);
  }
}

}  // namespace
}  // namespace pith::ops_testing
