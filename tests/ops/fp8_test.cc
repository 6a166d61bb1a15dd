// Products of many rows in 8 bits (Exec::fp8): exact where every operand is exact in e4m3 under the
// scale of its row, close elsewhere, and the same bits for a row whatever stands beside it.
//
// Bound of the distance: e4m3 has three bits behind the leading one, so rounding moves a value by
// at most 2⁻⁴ of itself, at random; two operands by 2 · 2⁻⁴ of the product. What lies below e4m3's
// smallest normal number, 2⁻¹⁵ of a row's largest magnitude, moves by less than 2⁻¹⁸ of that.
#include <gtest/gtest.h>

#include "ops/linear.h"
#include "tests/ops/ops_testing.h"

namespace pith::ops_testing {
namespace {

class Fp8Test : public ::testing::Test {
 protected:
  void SetUp() override {
    exec_ = Tested();
    if (!exec_.backend->TakesFp8()) {
      GTEST_SKIP() << testing::DeviceName() << " has no products in 8 bits";
    }
    exec_.precision = Precision::kBF16;
    exec_.fp8 = true;
  }

  Weight Wide(const Exec& exec, const Shared<float>& w, int64_t rows, int64_t cols) const {
    return exec.backend->Prepare(exec, {DType::kF32, w.data(), rows, cols}, WeightUse::kWide);
  }
  Shared<float> Multiply(const Exec& exec, const Shared<float>& x, const WeightView& w) const {
    const int64_t rows = static_cast<int64_t>(x.size()) / w.cols;
    Shared<float> out(rows * w.rows);
    Linear(exec, {x.data(), rows, w.cols}, w, {}, {out.data(), rows, w.rows});
    exec.backend->Synchronize(exec.queue);
    return out;
  }

  Exec exec_;
};

// Whole numbers up to 7, of which each row has one, times a power of two of the row's own: the
// scales are powers of two, and 7 / 448 = 2⁻⁶. Sums are below 2¹³.
Shared<float> Exact(Random& random, int64_t rows, int64_t cols) {
  Shared<float> v(rows * cols);
  for (int64_t r = 0; r < rows; ++r) {
    const float unit = std::ldexp(1.0f, static_cast<int>(random.Uniform(-9, 9)));
    for (int64_t c = 0; c < cols; ++c) v[r * cols + c] = unit * std::floor(random.Uniform(-7, 8));
    v[r * cols + static_cast<int64_t>(random.Uniform(0, static_cast<float>(cols)))] = 7 * unit;
  }
  return v;
}

TEST_F(Fp8Test, ExactOperandsGiveExactProducts) {
  for (const int64_t outputs : {8, 136, 1288}) {
    for (const int64_t cols : {16, 160}) {
      for (const int64_t rows : {1, 7, 130}) {
        SCOPED_TRACE(::testing::Message() << outputs << " " << cols << " " << rows);
        Random random(static_cast<uint32_t>(outputs + cols + rows));
        const Shared<float> w = Exact(random, outputs, cols), x = Exact(random, rows, cols);
        const Weight weight = Wide(exec_, w, outputs, cols);
        ASSERT_NE(weight.view().e4m3, nullptr);
        ExpectSameBits(Multiply(exec_, x, weight.view()),
                       Multiply(kReference, x, Prepare(kReference, w, outputs, cols).view()));
      }
    }
  }
}

TEST_F(Fp8Test, IsCloseAndIndependentOfOtherRows) {
  constexpr int64_t kRows = 300, kCols = 512, kOutputs = 1288;
  Random random(5);
  Shared<float> x = random.Vector(kRows * kCols);
  const Shared<float> w = random.Vector(kOutputs * kCols);
  std::fill_n(x.begin(), kCols, 0.0f);  // a row without a scale
  const Weight weight = Wide(exec_, w, kOutputs, kCols);
  const Shared<float> all = Multiply(exec_, x, weight.view());
  const Shared<float> expected =
      Multiply(kReference, x, Prepare(kReference, w, kOutputs, kCols).view());
  double difference = 0, size = 0;
  for (size_t i = 0; i < all.size(); ++i) {
    difference += (static_cast<double>(all[i]) - expected[i]) * (all[i] - expected[i]);
    size += static_cast<double>(expected[i]) * expected[i];
  }
  EXPECT_LE(std::sqrt(difference / size), 2 * 0x1p-4);
  EXPECT_GT(difference, 0) << "nothing was rounded";
  for (int64_t begin = 0, count = 1; begin < kRows; begin += count, count = count * 3 + 1) {
    count = std::min(count, kRows - begin);
    const Shared<float> part(x.begin() + begin * kCols, x.begin() + (begin + count) * kCols);
    const Shared<float> out = Multiply(exec_, part, weight.view());
    EXPECT_TRUE(SameBits(out.data(), &all[begin * kOutputs], count * kOutputs)) << begin;
  }
}

// Steps read the 16-bit weight.
TEST_F(Fp8Test, StepsStayIn16Bits) {
  constexpr int64_t kCols = 64, kOutputs = 128;
  Random random(6);
  const Shared<float> w = random.Vector(kOutputs * kCols), x = random.Vector(3 * kCols);
  const Weight wide = Wide(exec_, w, kOutputs, kCols);
  Exec plain = exec_;
  plain.fp8 = false;
  const Weight narrow = Wide(plain, w, kOutputs, kCols);
  EXPECT_EQ(narrow.view().e4m3, nullptr);
  Shared<float> a(3 * kOutputs), b(3 * kOutputs);
  LinearStep(exec_, {x.data(), 3, kCols}, wide.view(), {}, {a.data(), 3, kOutputs});
  LinearStep(plain, {x.data(), 3, kCols}, narrow.view(), {}, {b.data(), 3, kOutputs});
  exec_.backend->Synchronize(exec_.queue);
  ExpectSameBits(a, b);
}

}  // namespace
}  // namespace pith::ops_testing
