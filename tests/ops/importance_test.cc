// Importance of rows and of a scan, against the reference. Both sum in double and round once at the
// end, so they differ by the last bit of the result and by the rounding of the sums, which is
// (terms + 4) · 2⁻⁵³ of the sum of magnitudes.
#include "ops/importance.h"

#include <algorithm>
#include <limits>

#include "ops/scan_importance.h"
#include "tests/ops/ops_testing.h"

namespace pith::ops_testing {
namespace {

class ImportanceTest : public ::testing::Test {};

double Bound(double value, double terms, double magnitude) {
  return 2 * kRounding * std::abs(value) + (terms + 4) * 0x1p-53 * magnitude;
}

TEST_F(ImportanceTest, OfRowsAgreesWithReference) {
  for (const ImportanceKind kind :
       {ImportanceKind::kClip, ImportanceKind::kNoClip, ImportanceKind::kL1, ImportanceKind::kL2}) {
    for (const int64_t cols : kSizes) {
      for (const int64_t rows : {1, 31, 33, 70}) {
        SCOPED_TRACE(StrCat("kind ", static_cast<int>(kind), ", ", rows, " × ", cols));
        Random random(static_cast<uint32_t>(rows * 41 + cols));
        const Strided in(random, rows, cols);
        Shared<float> actual(rows), expected(rows);
        RowImportance(kReference, kind, in.view(), {expected.data(), rows});
        RowImportance(Tested(3), kind, in.view(), {actual.data(), rows});
        for (int64_t t = 0; t < rows; ++t) {
          ASSERT_NEAR(actual[t], expected[t], Bound(expected[t], cols, 1)) << "row " << t;
        }
      }
    }
  }
}

TEST_F(ImportanceTest, KeepsNaN) {
  Random random(5);
  Strided in(random, 40, 37);
  in.view().Row(33)[36] = std::numeric_limits<float>::quiet_NaN();
  for (const ImportanceKind kind :
       {ImportanceKind::kClip, ImportanceKind::kNoClip, ImportanceKind::kL1, ImportanceKind::kL2}) {
    for (const Exec& exec : {kReference, Tested(2)}) {
      Shared<float> out(40);
      RowImportance(exec, kind, in.view(), {out.data(), 40});
      for (int64_t t = 0; t < 40; ++t) EXPECT_EQ(std::isnan(out[t]), t == 33);
    }
  }
}

// Mamba-2's and Mamba-1's shapes, with odd numbers of units around a slice of 64.
constexpr ScanShape kShapes[] = {{1, 1, 1, false},    {6, 2, 8, false}, {65, 5, 17, false},
                                 {24, 1, 128, false}, {7, 1, 3, true},  {130, 1, 16, true}};

// Features as a layer gives them: dt spread over softplus's bends, x of `width` a unit.
Strided Features(const Exec& exec, const ScanShape& shape, int64_t rows, int64_t width,
                 float dt_max) {
  Random random(static_cast<uint32_t>(rows * 43 + shape.units));
  const Strided dt(random, rows, shape.units, -8, 4), x(random, rows, shape.units * width);
  const Strided b(random, rows, shape.bc_width()), c(random, rows, shape.bc_width());
  const Shared<float> bias = random.Vector(shape.units);
  Strided out(rows, shape.row_width());
  ScanFeatures(exec, {.shape = shape,
                      .dt = dt.view(),
                      .dt_bias = {bias.data(), shape.units},
                      .dt_min = 0.01f,
                      .dt_max = dt_max,
                      .x = x.view(),
                      .b = b.view(),
                      .c = c.view(),
                      .out = out.view()});
  out.CheckPadding();
  return out;
}

TEST_F(ImportanceTest, FeaturesAgreeWithReference) {
  for (const ScanShape& shape : kShapes) {
    for (const int64_t width : {1, 15, 64}) {
      for (const float dt_max : {2.0f, std::numeric_limits<float>::infinity()}) {
        SCOPED_TRACE(StrCat(shape.units, " units of ", width));
        const Strided expected = Features(kReference, shape, 37, width, dt_max);
        const Strided actual = Features(Tested(3), shape, 37, width, dt_max);
        ExpectNear(actual, expected, [&](int64_t r, int64_t c) {
          // Copies are exact.
          return c < 2 * shape.units ? Bound(expected.At(r, c), width, expected.At(r, c)) : 0;
        });
      }
    }
  }
}

// Where softplus is its argument, its exponential, and where the limits cut it.
TEST(ScanFeatures, StepSizesAtTheEnds) {
  const ScanShape shape{.units = 4, .groups = 1, .d_state = 1};
  const Shared<float> raw = {100, -30, 0, -100}, bias(4, 0), x = {3, -4, 0, 1}, one = {1};
  for (const Exec& exec : ReferenceAndTested()) {
    Shared<float> out(shape.row_width());
    ScanFeatures(exec, {.shape = shape,
                        .dt = {raw.data(), 1, 4},
                        .dt_bias = Vec(bias),
                        .dt_min = 1e-20f,
                        .dt_max = 50,
                        .x = {x.data(), 1, 4},
                        .b = {one.data(), 1, 1},
                        .c = {one.data(), 1, 1},
                        .out = {out.data(), 1, shape.row_width()}});
    EXPECT_EQ(out[0], 50);
    EXPECT_FLOAT_EQ(out[1], std::exp(-30.0f));
    EXPECT_FLOAT_EQ(out[2], std::log(2.0f));
    EXPECT_EQ(out[3], 1e-20f);
    EXPECT_EQ(Shared<float>(out.begin() + 4, out.end()), (Shared<float>{3, 4, 0, 1, 1, 1}));
  }
}

TEST_F(ImportanceTest, OfTheScanAgreesWithReference) {
  for (const ScanShape& shape : kShapes) {
    for (const int64_t rows : {1, 2, 33}) {
      const Strided features = Features(kReference, shape, rows, 8, 0.5f);
      Random random(9);
      const int64_t decays = shape.units * (shape.a_per_state ? shape.d_state : 1);
      const Shared<float> a = random.Vector(decays, -2, -0.1f);
      for (int kind = static_cast<int>(ImportanceKind::kDelta);
           kind <= static_cast<int>(ImportanceKind::kLastRow); ++kind) {
        SCOPED_TRACE(StrCat("kind ", kind, ", ", shape.units, " units, ", rows, " rows"));
        const auto run = [&](const Exec& exec) {
          Shared<float> out(rows);
          ScanImportance(exec, {.kind = static_cast<ImportanceKind>(kind),
                                .shape = shape,
                                .a = {a.data(), decays},
                                .rows = features.view(),
                                .tail = 3,
                                .importance = {out.data(), rows}});
          return out;
        };
        const Shared<float> expected = run(kReference), actual = run(Tested(1));
        ExpectSameBits(run(Tested(3)), actual);
        for (int64_t t = 0; t < rows; ++t) {
          // Terms: Δ ≤ 1/2, |B|, |C| ≤ 1, ‖x‖ ≤ √8. An exponential's argument errs by the rounding
          // of T_u ≤ rows / 2 times |a| ≤ 2, which counts as `rows` roundings more. Sums under a
          // square root have terms of one sign, so their error is relative and the root halves it.
          const double magnitude = 2.0 * shape.units * shape.d_state;
          ASSERT_NEAR(actual[t], expected[t],
                      Bound(expected[t], 4.0 * shape.units * shape.d_state + rows, magnitude))
              << "row " << t;
        }
      }
    }
  }
}

TEST(ScanImportance, ACallersMistakeIsFound) {
  const ScanShape shape{.units = 2, .groups = 1, .d_state = 1};
  Shared<float> rows(shape.row_width()), a(2), out(1);
  const auto run = [&](ImportanceKind kind, int64_t decays) {
    ScanImportance(kReference, {.kind = kind,
                                .shape = shape,
                                .a = {a.data(), decays},
                                .rows = {rows.data(), 1, shape.row_width()},
                                .importance = {out.data(), 1}});
  };
  EXPECT_THROW(run(ImportanceKind::kClip, 2), Error);
  EXPECT_THROW(run(ImportanceKind::kRarity, 2), Error);
  EXPECT_THROW(run(ImportanceKind::kDelta, 1), Error);
  EXPECT_THROW(
      RowImportance(kReference, ImportanceKind::kDelta, {rows.data(), 1, 2}, {out.data(), 1}),
      Error);
}

}  // namespace
}  // namespace pith::ops_testing
