// Activate against the reference.
//
// Bound, with u = 2⁻²⁴ and relative to the result: silu takes 12 roundings
// (tests/ops/norm_test.cc). gelu's tail takes (x² / 2 + 16) · u by its approximation
// (backends/cpu/math-inl.h), where x² / 2 is that of rounding x² before the exponential; on CUDA
// x² / 2 + 15: 2 for erfcx's argument, 8 for erfcx (4 ulp), 2 for the exponential (1 ulp), 3 for
// products. Elsewhere 1 − tail is better than that. A product adds one, the reference's own
// rounding one.
#include "ops/activation.h"

#include "tests/ops/ops_testing.h"

namespace pith::ops_testing {
namespace {

class ActivationTest : public ::testing::Test {};

constexpr Activation kAll[] = {Activation::kSilu, Activation::kGelu, Activation::kReluSquared};

Strided Activated(const Exec& exec, Activation activation, MatView<const float> gate,
                  MatView<const float> up) {
  Strided out(gate.rows, gate.cols);
  Activate(exec, {.activation = activation, .gate = gate, .up = up, .out = out.view()});
  exec.backend->Synchronize(exec.queue);
  return out;
}

void Compare(Activation activation, int64_t rows, int64_t cols, bool gated) {
  const auto seed = static_cast<uint32_t>(rows * 1009 + cols);
  SCOPED_TRACE(StrCat("seed ", seed, ", rows ", rows, ", cols ", cols, ", activation ",
                      static_cast<int>(activation), gated ? ", gated" : ""));
  Random random(seed);
  const Strided gate(random, rows, cols, -14, 14), up(random, rows, cols);
  const MatView<const float> factor = gated ? up.view() : MatView<const float>();
  const Strided expected = Activated(kReference, activation, gate.view(), factor);
  const Strided out = Activated(Tested(2), activation, gate.view(), factor);
  // 1e-36: where an exponential would be subnormal, it may be 0.
  ExpectNear(out, expected, [&](int64_t r, int64_t c) {
    const double x = gate.At(r, c);
    const double units = activation == Activation::kGelu ? x * x / 2 + 18 : 14;
    return units * kRounding * std::abs(expected.At(r, c)) + 1e-36;
  });
}

TEST_F(ActivationTest, AgreesWithReference) {
  for (const Activation activation : kAll) {
    for (const int64_t n : kSizes) {
      Compare(activation, 3, n, true);
      Compare(activation, n, 40, false);
    }
    Compare(activation, 60, 1000, true);
  }
}

// By hand; Φ(1) = 0.8413447, Φ(−2) = 0.02275013.
TEST_F(ActivationTest, AreTheFormulas) {
  Strided x(1, 4);
  const float inputs[] = {0, 1, -2, 3};
  std::copy_n(inputs, 4, x.view().Row(0));
  for (const Exec& exec : ReferenceAndTested()) {
    const Strided silu = Activated(exec, Activation::kSilu, x.view(), {});
    const Strided gelu = Activated(exec, Activation::kGelu, x.view(), x.view());
    const Strided squared = Activated(exec, Activation::kReluSquared, x.view(), {});
    EXPECT_EQ(silu.At(0, 0), 0);
    EXPECT_NEAR(silu.At(0, 1), 0.7310586, 1e-7);
    EXPECT_NEAR(silu.At(0, 2), -0.2384058, 1e-7);
    EXPECT_EQ(gelu.At(0, 0), 0);
    EXPECT_NEAR(gelu.At(0, 1), 0.8413447, 1e-7);
    EXPECT_NEAR(gelu.At(0, 2), 4 * 0.02275013, 1e-7);
    for (const auto& [i, expected] : {std::pair{0, 0}, {1, 1}, {2, 0}, {3, 9}}) {
      EXPECT_EQ(squared.At(0, i), expected);
    }
  }
}

TEST_F(ActivationTest, SaturatesAndKeepsNaN) {
  Strided x(1, 20);
  std::fill_n(x.view().Row(0), 20, 0.0f);
  const float inputs[] = {-1000, 1000, std::numeric_limits<float>::quiet_NaN()};
  std::copy_n(inputs, 3, x.view().Row(0));
  for (const Exec& exec : ReferenceAndTested()) {
    for (const Activation activation : kAll) {
      const Strided out = Activated(exec, activation, x.view(), {});
      EXPECT_NEAR(out.At(0, 0), 0, 1e-35);
      EXPECT_EQ(out.At(0, 1), activation == Activation::kReluSquared ? 1e6f : 1000.0f);
      EXPECT_TRUE(std::isnan(out.At(0, 2)));
    }
  }
}

TEST_F(ActivationTest, WorksInPlaceAndRowsDoNotDependOnTheirBatch) {
  Random random(3);
  const Strided gate(random, 300, 500, -5, 5), up(random, 300, 500);
  for (const Activation activation : kAll) {
    const Strided whole = Activated(Tested(1), activation, gate.view(), up.view());
    ExpectSameBits(Activated(Tested(3), activation, gate.view(), up.view()).view(), whole.view());
    for (const int64_t count : {1, 7, 64}) {
      const Strided some =
          Activated(Tested(2), activation, gate.view().Rows(17, count), up.view().Rows(17, count));
      ExpectSameBits(some.view(), whole.view().Rows(17, count));
    }
    Strided in_gate = gate, in_up = up;
    for (Strided* out : {&in_gate, &in_up}) {
      Activate(Tested(), {.activation = activation,
                          .gate = (out == &in_gate ? in_gate : gate).view(),
                          .up = (out == &in_up ? in_up : up).view(),
                          .out = out->view()});
      Tested().backend->Synchronize({});
      ExpectSameBits(out->view(), whole.view());
    }
  }
}

}  // namespace
}  // namespace pith::ops_testing
