// Packed data files: every damage is an error, and no file unpacks beyond the bound it was given.

#include "core/xz.h"

#include <gtest/gtest.h>
#include <lzma.h>

#include <string>

#include "core/checksum.h"
#include "core/error.h"
#include "tests/load/checkpoint_builder.h"

namespace pith {
namespace {

std::string Pack(const std::string& text) {
  std::string out(lzma_stream_buffer_bound(text.size()), '\0');
  size_t size = 0;
  EXPECT_EQ(lzma_easy_buffer_encode(1, LZMA_CHECK_CRC64, nullptr,
                                    reinterpret_cast<const uint8_t*>(text.data()), text.size(),
                                    reinterpret_cast<uint8_t*>(out.data()), &size, out.size()),
            LZMA_OK);
  out.resize(size);
  return out;
}

class Xz : public ::testing::Test {
 protected:
  std::string Read(const std::string& bytes, int64_t max_bytes = int64_t{1} << 30) {
    dir_.Write("f.xz", bytes);
    return ReadDataFile(dir_.path() / "f.xz", max_bytes);
  }
  ErrorCode CodeOf(const std::string& bytes, int64_t max_bytes = int64_t{1} << 30) {
    try {
      Read(bytes, max_bytes);
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("f.xz"), std::string::npos) << error.what();
      return error.code();
    }
    return ErrorCode::kInternal;
  }
  testing::TempDir dir_;
};

TEST_F(Xz, Unpacks) {
  std::string text = "line\n";
  for (int i = 0; i < 16; ++i) text += text;  // several times the first buffer
  EXPECT_TRUE(Read(Pack(text)) == text);
  EXPECT_EQ(Read(Pack("")), "");
  EXPECT_EQ(Read(Pack("ab") + Pack("c")), "abc");  // xz files may be concatenated
}

TEST_F(Xz, ReadsPlainFilesByName) {
  dir_.Write("plain.txt", Pack("ab"));
  EXPECT_EQ(ReadDataFile(dir_.path() / "plain.txt"), Pack("ab"));
  EXPECT_THROW(ReadDataFile(dir_.path() / "absent.xz"), Error);
}

// Every header, block and index of the format carries a CRC, and its padding must be zero.
TEST_F(Xz, RefusesEveryDamage) {
  testing::ForEachDamage(Pack("some text, some text"), [&](const std::string& bytes) {
    ASSERT_EQ(CodeOf(bytes), ErrorCode::kCorruptData);
  });
  EXPECT_EQ(CodeOf("not xz at all"), ErrorCode::kCorruptData);
  EXPECT_EQ(CodeOf(Pack("ab") + "junk"), ErrorCode::kCorruptData);
}

TEST_F(Xz, BoundsWhatItUnpacksTo) {
  const std::string bomb = Pack(std::string(1 << 26, '\0'));
  ASSERT_LT(bomb.size(), size_t{1} << 15);
  EXPECT_EQ(CodeOf(bomb, 1 << 20), ErrorCode::kCorruptData);
  EXPECT_EQ(CodeOf(Pack("12345"), 4), ErrorCode::kCorruptData);
  EXPECT_EQ(Read(Pack("12345"), 5), "12345");
}

// The check value of CRC-64/XZ in the catalogue of parametrised CRC algorithms.
TEST(Checksum, KnownValueInAnyPieces) {
  const std::string digits = "123456789";
  for (size_t cut = 0; cut <= digits.size(); ++cut) {
    Checksum sum;
    sum.Add(std::as_bytes(std::span(digits).first(cut)));
    sum.Add(std::as_bytes(std::span(digits).subspan(cut)));
    EXPECT_EQ(sum.value(), 0x995dc9bbdf1939faULL) << cut;
  }
  EXPECT_EQ(Checksum().value(), 0);
}

}  // namespace
}  // namespace pith
