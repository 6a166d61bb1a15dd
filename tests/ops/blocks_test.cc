// Matrices whose dtype has blocks, where they are widened when they are prepared: every operator
// gives the bits that it gives on the matrix's rows in f32. Elsewhere: linear_quant_test.cc.
#include <random>

#include "core/blocks.h"
#include "ops/embed.h"
#include "ops/linear.h"
#include "tests/ops/ops_testing.h"

namespace pith::ops_testing {
namespace {

class BlockedWeights : public ::testing::TestWithParam<DType> {
 protected:
  static constexpr int64_t kRows = 37, kCols = 512;

  // Any bytes are blocks, but for a scale's exponent, which must not be that of infinity.
  void SetUp() override {
    std::mt19937 engine(7);
    blocks_.resize(BytesOf(GetParam(), kRows * kCols));
    for (std::byte& byte : blocks_) byte = static_cast<std::byte>(engine() & 0xff);
    for (int64_t at = 0; at < std::ssize(blocks_); at += BlockOf(GetParam()).bytes) {
      for (const int64_t scale : {int64_t{1}, int64_t{3}, int64_t{209}}) {
        if (scale < BlockOf(GetParam()).bytes) blocks_[at + scale] &= std::byte{0xbf};
      }
    }
    rows_.resize(kRows * kCols);
    Widen(GetParam(), blocks_.data(), rows_);
  }
  StoredMatrix stored() const { return {GetParam(), blocks_.data(), kRows, kCols}; }
  StoredMatrix widened() const { return {DType::kF32, rows_.data(), kRows, kCols}; }

  std::vector<std::byte> blocks_;
  std::vector<float> rows_;
};

TEST_P(BlockedWeights, ProductsAreThoseOfTheirRows) {
  if (testing::DeviceUnderTest() != Device::kCuda) {
    GTEST_SKIP() << "the host reads whole numbers and rounds activations (LinearQuantTest)";
  }
  Random random(3);
  const Strided x(random, 5, kCols);
  for (const Precision precision : {Precision::kF32, Precision::kBF16}) {
    Exec exec = Tested(2);
    exec.precision = precision;
    for (const WeightUse use : {WeightUse::kProduct, WeightUse::kBoth}) {
      const Weight w = exec.backend->Prepare(exec, stored(), use);
      const Weight rows = exec.backend->Prepare(exec, widened(), use);
      for (const auto op : {Linear, LinearStep}) {
        Strided out(5, kRows), expected(5, kRows);
        op(exec, x.view(), w.view(), {}, out.view());
        op(exec, x.view(), rows.view(), {}, expected.view());
        ExpectSameBits(out.view(), expected.view());
      }
    }
  }
}

TEST_P(BlockedWeights, EmbeddedRowsAreExact) {
  const std::vector<int32_t> ids = {36, 0, 17};
  for (const WeightUse use : {WeightUse::kTable, WeightUse::kBoth}) {
    const Exec exec = Tested(2);
    const Weight table = exec.backend->Prepare(exec, stored(), use);
    Strided out(3, kCols);
    Embed(exec, table.view(), ids, out.view());
    for (int64_t i = 0; i < 3; ++i) {
      for (int64_t j = 0; j < kCols; ++j) {
        ASSERT_EQ(out.At(i, j), rows_[ids[i] * kCols + j]) << i << ", " << j;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, BlockedWeights,
                         ::testing::Values(DType::kQ8_0, DType::kQ4_0, DType::kQ4_K, DType::kQ6_K),
                         [](const auto& info) { return std::string(Name(info.param)); });

}  // namespace
}  // namespace pith::ops_testing
