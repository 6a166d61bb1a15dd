// Trailing blanks against the 29 code points for which Python's str.isspace() holds (Unicode 15).
#include "tokenize/blanks.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace pith {
namespace {

std::string Utf8(uint32_t c) {
  if (c < 0x80) return {static_cast<char>(c)};
  if (c < 0x800) return {static_cast<char>(0xc0 | c >> 6), static_cast<char>(0x80 | (c & 0x3f))};
  return {static_cast<char>(0xe0 | c >> 12), static_cast<char>(0x80 | (c >> 6 & 0x3f)),
          static_cast<char>(0x80 | (c & 0x3f))};
}

TEST(Blanks, EveryCodePointOfTheBasicPlane) {
  std::set<uint32_t> blanks = {0x20, 0x85, 0xa0, 0x1680, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000};
  for (uint32_t c = 0x09; c <= 0x0d; ++c) blanks.insert(c);
  for (uint32_t c = 0x1c; c <= 0x1f; ++c) blanks.insert(c);
  for (uint32_t c = 0x2000; c <= 0x200a; ++c) blanks.insert(c);
  ASSERT_EQ(blanks.size(), 29u);
  for (uint32_t c = 1; c < 0x10000; ++c) {
    const std::string text = "a" + Utf8(c);
    EXPECT_EQ(LengthWithoutTrailingBlanks(text), blanks.contains(c) ? 1 : text.size()) << c;
  }
}

TEST(Blanks, Runs) {
  EXPECT_EQ(LengthWithoutTrailingBlanks(""), 0u);
  EXPECT_EQ(LengthWithoutTrailingBlanks(" \n\xc2\xa0 "), 0u);
  EXPECT_EQ(LengthWithoutTrailingBlanks("a b \xe3\x80\x80\n"), 3u);
}

}  // namespace
}  // namespace pith
