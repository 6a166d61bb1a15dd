// Embed is exact in every dtype, so all devices give the same bits; and a device that the
// build lacks is refused by name.
#include "ops/embed.h"

#include "ops/backends.h"
#include "tests/ops/ops_testing.h"

namespace pith::ops_testing {
namespace {

class EmbedTest : public ::testing::Test {};

TEST_F(EmbedTest, WidensExactly) {
  const std::vector<int32_t> ids = {2, 0, 2, 4, 1};
  for (const int64_t cols : kSizes) {
    for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
      SCOPED_TRACE(StrCat(Name(dtype), ", ", cols, " columns"));
      // Every finite bit pattern class: bytes are arbitrary but for the exponents of NaN and
      // infinity.
      std::vector<uint16_t> table(5 * cols * SizeOf(dtype) / 2);
      std::mt19937 engine(static_cast<uint32_t>(cols));
      for (uint16_t& half : table) half = engine() & 0xbbbf;
      const StoredMatrix stored = {dtype, table.data(), 5, cols};
      Strided expected(5, cols);
      Embed(kReference, kReference.backend->Prepare(kReference, stored, WeightUse::kTable).view(),
            ids, expected.view());
      // Alone, and where it is also the head's matrix, packed.
      for (const WeightUse use : {WeightUse::kTable, WeightUse::kBoth}) {
        for (const Precision precision : {Precision::kF32, Precision::kBF16}) {
          Exec exec = Tested(2);
          exec.precision = precision;
          Strided out(5, cols);
          Embed(exec, exec.backend->Prepare(exec, stored, use).view(), ids, out.view());
          ExpectSameBits(out.view(), expected.view());
          out.CheckPadding();
        }
      }
      VisitFloat(dtype, [&]<class T>() {
        const T* row = reinterpret_cast<const T*>(table.data()) + 4 * cols;
        for (int64_t i = 0; i < cols; ++i) EXPECT_EQ(expected.At(3, i), ToFloat(row[i]));
      });
    }
  }
}

TEST_F(EmbedTest, IdsOutOfRangeAreBugs) {
  const float table[] = {1, 2};
  const WeightView view = pith::RowsOf({DType::kF32, table, 2, 1});
  Strided out(1, 1);
  for (const int32_t id : {-1, 2}) {
    EXPECT_THROW(Embed(Tested(), view, std::span(&id, 1), out.view()), Error);
  }
}

TEST(BackendTest, AMissingBackendIsNamed) {
  if (CudaDevices() >= 0) GTEST_SKIP() << "this build has all backends";
  try {
    BackendOf(Device::kCuda);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_NE(std::string(error.what()).find("cuda"), std::string::npos);
  }
}

// None at all, or one less than was asked for.
TEST(BackendTest, AMissingGpuIsNamed) {
  if (CudaDevices() < 0) GTEST_SKIP() << "built without the CUDA backend";
  try {
    BackendOf(Device::kCuda, CudaDevices());
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    const std::string expected =
        CudaDevices() == 0 ? "no NVIDIA GPU" : StrCat("this machine has ", CudaDevices(), " GPU");
    EXPECT_NE(std::string(error.what()).find(expected), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace pith::ops_testing
