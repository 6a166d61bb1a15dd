// AddNorm and Gate against the reference.
//
// Bounds: the sum of n squares, all of one sign, has a relative error of at most (n + 3) · 2⁻²⁴;
// the root halves it; scaling, weighting and the final rounding add a few. LayerNorm's mean errs by
// n · 2⁻²⁴ · max|s|, which the scale and the weight then carry to the output, as they carry each
// element's own rounding. silu comes from an exponential of 2 ulp: 12 roundings in all.
#include "ops/norm.h"

#include "tests/ops/ops_testing.h"

namespace pith::ops_testing {
namespace {

class NormTest : public ::testing::Test {};

struct AddNormCase {
  bool add, sum, weight, bias, layer_norm;
};

void CompareAddNorm(int64_t rows, int64_t d, const AddNormCase& kind) {
  const uint32_t seed = rows * 1009 + d;
  SCOPED_TRACE(StrCat("seed ", seed, ", rows ", rows, ", d ", d, ", add ", kind.add, ", sum ",
                      kind.sum, ", weight ", kind.weight, ", layer_norm ", kind.layer_norm));
  Random random(seed);
  const Strided x(random, rows, d), add(random, rows, d);
  const Shared<float> weight = random.Vector(d, 0.5f, 1.5f), bias = random.Vector(d);
  const auto run = [&](const Exec& exec, Strided& sum, Strided& out) {
    AddNormArgs args = {.x = x.view(), .layer_norm = kind.layer_norm, .out = out.view()};
    if (kind.add) args.add = add.view();
    if (kind.sum) args.sum = sum.view();
    if (kind.weight) args.weight = Vec(weight);
    if (kind.bias) args.bias = Vec(bias);
    AddNorm(exec, args);
  };
  Strided sum(rows, d), out(rows, d), expected_sum(rows, d), expected(rows, d);
  run(kReference, expected_sum, expected);
  run(Tested(2), sum, out);
  if (kind.sum) ExpectSameBits(sum.view(), expected_sum.view());
  ExpectNear(out, expected, [&](int64_t r, int64_t c) {
    double mean = 0, square = 0, largest = 0;
    for (int64_t i = 0; i < d; ++i) {
      const double s = x.At(r, i) + (kind.add ? add.At(r, i) : 0.0f);
      mean += s / d;
      square += s * s / d;
      largest = std::max(largest, std::abs(s));
    }
    const double variance = kind.layer_norm ? std::max(square - mean * mean, 0.0) : square;
    const double scale = (kind.weight ? weight[c] : 1) / std::sqrt(variance + 1e-5);
    const double shift = kind.layer_norm ? 2 * largest * scale : 0;
    const double offset = kind.bias ? std::abs(bias[c]) : 0;
    return (d + 8) * kRounding * (std::abs(expected.At(r, c)) + shift + offset);
  });
}

TEST_F(NormTest, AddNormAgreesWithReference) {
  for (const int64_t d : kSizes) {
    CompareAddNorm(3, d, {true, true, true, false, false});
    CompareAddNorm(3, d, {false, false, true, false, false});
    CompareAddNorm(3, d, {true, false, false, false, false});
    CompareAddNorm(3, d, {true, true, true, true, true});
    CompareAddNorm(3, d, {false, false, false, false, true});
  }
  for (const int64_t rows : kSizes) CompareAddNorm(rows, 40, {true, true, true, false, false});
}

// The residual stream is updated in place.
TEST_F(NormTest, SumMayBeX) {
  Random random(3);
  const Strided x(random, 5, 33), add(random, 5, 33);
  Strided sum(5, 33), out(5, 33), in_place = x, in_place_out(5, 33);
  AddNorm(Tested(), {.x = x.view(), .add = add.view(), .sum = sum.view(), .out = out.view()});
  AddNorm(Tested(), {.x = in_place.view(),
                     .add = add.view(),
                     .sum = in_place.view(),
                     .out = in_place_out.view()});
  ExpectSameBits(in_place.view(), sum.view());
  ExpectSameBits(in_place_out.view(), out.view());
}

TEST_F(NormTest, RowsDoNotDependOnTheirBatch) {
  Random random(4);
  const Strided x(random, 300, 500), z(random, 300, 500, -10, 10);
  const Shared<float> weight = random.Vector(500);
  const auto run = [&](int threads, int64_t begin, int64_t count, bool gate) {
    Strided out(count, 500);
    if (gate) {
      Gate(Tested(threads), {.y = x.view().Rows(begin, count),
                             .z = z.view().Rows(begin, count),
                             .norm_weight = Vec(weight),
                             .group = 100,
                             .out = out.view()});
    } else {
      AddNorm(Tested(threads),
              {.x = x.view().Rows(begin, count), .weight = Vec(weight), .out = out.view()});
    }
    return out;
  };
  for (const bool gate : {false, true}) {
    const Strided whole = run(1, 0, 300, gate);
    for (const int threads : {2, 3})
      ExpectSameBits(run(threads, 0, 300, gate).view(), whole.view());
    for (const int64_t count : {1, 7, 64}) {
      ExpectSameBits(run(2, 17, count, gate).view(), whole.view().Rows(17, count));
    }
  }
}

void CompareGate(int64_t rows, int64_t group, int64_t groups, bool norm, bool norm_before_gate) {
  const uint32_t seed = rows * 1013 + group;
  SCOPED_TRACE(StrCat("seed ", seed, ", rows ", rows, ", group ", group, " × ", groups, ", norm ",
                      norm, ", norm before gate ", norm_before_gate));
  Random random(seed);
  const int64_t cols = group * groups;
  const Strided y(random, rows, cols), z(random, rows, cols, -30, 30);
  const Shared<float> weight = random.Vector(cols, 0.5f, 1.5f);
  const auto run = [&](const Exec& exec, Strided& out) {
    Gate(exec, {.y = y.view(),
                .z = z.view(),
                .norm_weight = norm ? Vec(weight) : VecView<const float>(),
                .group = group,
                .norm_before_gate = norm_before_gate,
                .out = out.view()});
  };
  Strided out(rows, cols), expected(rows, cols), in_place = y;
  run(kReference, expected);
  run(Tested(2), out);
  // 1e-37: where e⁻ᶻ would be subnormal or overflow, silu's absolute error stays below that.
  ExpectNear(out, expected, [&](int64_t r, int64_t c) {
    return (group + 30) * kRounding * std::abs(expected.At(r, c)) + 1e-37;
  });
  Gate(Tested(), {.y = in_place.view(),
                  .z = z.view(),
                  .norm_weight = norm ? Vec(weight) : VecView<const float>(),
                  .group = group,
                  .norm_before_gate = norm_before_gate,
                  .out = in_place.view()});
  ExpectSameBits(in_place.view(), out.view());
}

TEST_F(NormTest, GateAgreesWithReferenceAndWorksInPlace) {
  for (const int64_t group : kSizes) {
    CompareGate(3, group, 1, false, false);
    CompareGate(3, group, 2, true, false);
    CompareGate(2, group, 3, true, true);
  }
  for (const int64_t rows : kSizes) CompareGate(rows, 20, 1, true, false);
}

// silu far from zero: no overflow, no NaN; z or 0 there to rounding.
TEST_F(NormTest, GateSaturates) {
  Strided y(1, 4), z(1, 4), out(1, 4);
  const float inputs[] = {-1000, -89, 89, 1000};
  for (int64_t i = 0; i < 4; ++i) {
    y.view().Row(0)[i] = 1;
    z.view().Row(0)[i] = inputs[i];
  }
  Gate(Tested(), {.y = y.view(), .z = z.view(), .out = out.view()});
  EXPECT_NEAR(out.At(0, 0), 0, 1e-35);
  EXPECT_NEAR(out.At(0, 1), 0, 1e-35);
  EXPECT_EQ(out.At(0, 2), 89);
  EXPECT_EQ(out.At(0, 3), 1000);
}

}  // namespace
}  // namespace pith::ops_testing
