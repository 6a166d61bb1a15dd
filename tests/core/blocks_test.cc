// GGUF's quantised types, bit by bit against the values that ggml's own Python package gives for
// random blocks (tools/golden/gguf_blocks.py), and what no caller may do with them.
#include "core/blocks.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/file.h"
#include "core/json.h"
#include "core/weight.h"

namespace pith {
namespace {

const std::pair<const char*, DType> kBlocked[] = {
    {"Q8_0", DType::kQ8_0}, {"Q4_0", DType::kQ4_0}, {"Q4_K", DType::kQ4_K}, {"Q6_K", DType::kQ6_K}};

Json Golden() {
  const auto path = std::filesystem::path(PITH_SOURCE_DIR) / "tests/core/gguf_blocks.json";
  return ParseJson(ReadTextFile(path, int64_t{1} << 20), path.string(), 8);
}

std::vector<std::byte> FromHex(const std::string& hex) {
  std::vector<std::byte> bytes;
  for (size_t i = 0; i < hex.size(); i += 2) {
    bytes.push_back(static_cast<std::byte>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

std::vector<float> FromBits(const Json& bits) {
  std::vector<float> values;
  for (const Json& value : bits) values.push_back(std::bit_cast<float>(value.get<uint32_t>()));
  return values;
}

void ExpectSameBits(const std::vector<float>& got, const std::vector<float>& expected) {
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) {
    ASSERT_EQ(std::bit_cast<uint32_t>(got[i]), std::bit_cast<uint32_t>(expected[i]))
        << "value " << i << ": got " << got[i] << ", expected " << expected[i];
  }
}

TEST(Blocks, WidenAsGgmlDoesAtAnyAlignment) {
  const Json golden = Golden();
  for (const auto& [name, dtype] : kBlocked) {
    SCOPED_TRACE(name);
    const std::vector<std::byte> blocks = FromHex(golden["decode"][name]["blocks"]);
    const std::vector<float> expected = FromBits(golden["decode"][name]["values"]);
    ASSERT_EQ(std::ssize(blocks), BytesOf(dtype, std::ssize(expected)));
    std::vector<std::byte> shifted(blocks.size() + 1);
    std::memcpy(shifted.data() + 1, blocks.data(), blocks.size());
    for (const std::span<const std::byte> from :
         {std::span<const std::byte>(blocks), std::span<const std::byte>(shifted).subspan(1)}) {
      std::vector<float> values(expected.size());
      Widen(dtype, from.data(), values);
      ExpectSameBits(values, expected);
    }
  }
}

TEST(Blocks, Q8_0IsRoundedAsGgmlDoes) {
  const Json golden = Golden()["encode"]["Q8_0"];
  const std::vector<float> values = FromBits(golden["values"]);
  std::vector<std::byte> blocks(BytesOf(DType::kQ8_0, std::ssize(values)));
  EncodeQ8_0(values, blocks.data());
  EXPECT_EQ(blocks, FromHex(golden["blocks"]));
}

TEST(Blocks, OtherTypesWidenByTheirOwnDefinition) {
  const std::vector<float> values = {1.5f, -0.25f, 3e-8f};
  std::vector<float> wide(3);
  Widen(DType::kF32, reinterpret_cast<const std::byte*>(values.data()), wide);
  EXPECT_EQ(wide, values);
  const F16 halves[] = {ToF16(1.5f), ToF16(-0.25f), ToF16(3e-8f)};
  Widen(DType::kF16, reinterpret_cast<const std::byte*>(halves), wide);
  EXPECT_EQ(wide, (std::vector<float>{1.5f, -0.25f, 0x1p-24f}));
}

TEST(Blocks, NarrowingTellsWhatATypeCannotHold) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  std::vector<std::byte> to(32 * 4);
  const auto kept = [&](DType dtype, float value) {
    const std::vector<float> row(32, value);
    return Narrow(dtype, row, to.data());
  };
  EXPECT_TRUE(kept(DType::kF32, 3e38f) && kept(DType::kF32, kInf));
  EXPECT_TRUE(kept(DType::kF16, 65519) && kept(DType::kF16, -kInf));
  EXPECT_FALSE(kept(DType::kF16, 65520));
  EXPECT_TRUE(kept(DType::kBF16, 3.38e38f));
  EXPECT_FALSE(kept(DType::kBF16, -3.4e38f));
  EXPECT_TRUE(kept(DType::kQ8_0, -127 * 65504.0f));
  for (const float value : {127 * 65520.0f, kInf, std::nanf("")}) {
    EXPECT_FALSE(kept(DType::kQ8_0, value)) << value;
  }
  std::vector<float> back(32);
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0}) {
    ASSERT_TRUE(kept(dtype, 127.0f));  // exact in each
    Widen(dtype, to.data(), back);
    EXPECT_EQ(back, std::vector<float>(32, 127.0f)) << Name(dtype);
  }
}

TEST(Blocks, SizesAreThoseOfWholeBlocks) {
  const StoredMatrix matrix = {DType::kQ4_K, &kBlocked, 3, 512};
  EXPECT_EQ(matrix.bytes(), 3 * 2 * 144);
  EXPECT_EQ(BytesOf(DType::kF16, 7), 14);
  for (const auto& [name, dtype] : kBlocked) {
    SCOPED_TRACE(name);
    EXPECT_TRUE(IsBlocked(dtype));
    // Neither a part of a block nor a value of its own type exists: both are bugs, and told.
    EXPECT_THROW(BytesOf(dtype, BlockOf(dtype).values + 1), Error);
    EXPECT_THROW(SizeOf(dtype), Error);
    EXPECT_THROW(VisitFloat(dtype, []<class T>() {}), Error);
    std::vector<float> part(static_cast<size_t>(BlockOf(dtype).values) - 1);
    EXPECT_THROW(Widen(dtype, nullptr, part), Error);
  }
}

}  // namespace
}  // namespace pith
