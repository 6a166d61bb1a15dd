// UTF-8 repair, NFC and the cutting of words, each against an independent statement of the same:
// Python's results, the Unicode Standard's equalities, and GPT-2's pattern run by Oniguruma.
#include "tokenize/unicode.h"

#include <gtest/gtest.h>
#include <utf8proc.h>

#include <random>
#include <string>
#include <vector>

#include "core/utf8.h"
#include "pith/error.h"
#include "tokenize/gpt2_words.h"
#include "tokenize/normal_form.h"
#include "tokenize/regex.h"

namespace pith {
namespace {

constexpr char kGpt2Pattern[] =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

std::string Nfc(std::string_view text) {
  std::string buffer;
  return std::string(Normalize(text, NormalForm::kNfc, buffer));
}

// bytes.decode("utf-8", "replace") of Python 3.11.
TEST(Utf8, ReplacesMaximalSubparts) {
  const std::vector<std::pair<std::string, int>> cases = {{"\x80", 1},
                                                          {"\xC0\x80", 2},
                                                          {"\xE2\x82", 1},
                                                          {"\xE0\x80\x80", 3},
                                                          {"\xED\xA0\x80", 3},
                                                          {"\xF0\x9F\x98", 1},
                                                          {"\xF0\x80\x80", 3},
                                                          {"\xF4\x90\x80\x80", 4},
                                                          {"\xF5\x80\x80\x80", 4},
                                                          {"\xE2\x82\xE2\x82", 2},
                                                          {"\xF0\x9F\xC3", 2},
                                                          {"\xFF\xFE", 2}};
  for (const auto& [bytes, count] : cases) {
    std::string expected = "a";
    for (int i = 0; i < count; ++i) expected += kReplacementCharacter;
    EXPECT_EQ(ReplaceInvalidUtf8("a" + bytes), expected);
    EXPECT_EQ(ReplaceInvalidUtf8("a" + bytes + "b"), expected + "b");
  }
}

TEST(Utf8, EveryCodePointRoundTrips) {
  for (int32_t c = 0; c < 0x110000; ++c) {
    std::string bytes;
    AppendUtf8(c, bytes);
    const bool surrogate = c >= 0xD800 && c < 0xE000;
    ASSERT_EQ(ValidUtf8Prefix(bytes) == bytes.size(), !surrogate) << c;
    if (surrogate) continue;
    ASSERT_EQ(DecodeUtf8(bytes.data()).value, c);
    ASSERT_EQ(DecodeUtf8Before(bytes.data() + bytes.size()).value, c);
  }
}

TEST(Nfc, KnownEqualities) {
  EXPECT_EQ(Nfc("e\u0301"), "\u00e9");
  EXPECT_EQ(Nfc("\u212b\u2126"), "\u00c5\u03a9");
  EXPECT_EQ(Nfc("\u1112\u1161\u11ab"), "\ud55c");
  EXPECT_EQ(Nfc("\uac00\u11a8"), "\uac01");
  EXPECT_EQ(Nfc("q\u0307\u0323"), "q\u0323\u0307");
  EXPECT_EQ(Nfc("\u0958"), "\u0915\u093c");  // a composition exclusion
  EXPECT_EQ(Nfc("\u0b47\u0b3e"), "\u0b4b");
  EXPECT_EQ(Nfc("\U0001d15e"), "\U0001d157\U0001d165");
  EXPECT_EQ(Nfc("\u0301a"), "\u0301a");
}

TEST(Nfc, NewerMarksKeepTheirPlace) {
  EXPECT_EQ(Nfc("a\u0898\u0323"), "a\u0898\u0323");  // class 230 before 220
  EXPECT_EQ(Nfc("a\u0898\u0301"), "a\u0898\u0301");
  EXPECT_EQ(Nfc("\U00011935\U00011930"), "\U00011935\U00011930");
}

// On characters whose properties have not changed since Unicode 9.0, utf8proc_NFC is the law.
TEST(Nfc, EqualsUtf8procOnRandomText) {
  const char32_t starts[] = {'a',    0xC0,   0x300,  0x370,  0x400,  0x5B0,  0x620,
                             0x915,  0x9BE,  0x1100, 0x1160, 0x11A8, 0x1E00, 0x1F00,
                             0x2010, 0x3040, 0x3099, 0x4E00, 0xAC00, 0xFB1D};
  std::mt19937 random(2);
  for (int i = 0; i < 20000; ++i) {
    std::string text;
    for (int n = random() % 12; n > 0; --n) {
      AppendUtf8(starts[random() % std::size(starts)] + random() % 24, text);
    }
    utf8proc_uint8_t* const expected =
        utf8proc_NFC(reinterpret_cast<const utf8proc_uint8_t*>(text.c_str()));
    EXPECT_EQ(Nfc(text), reinterpret_cast<const char*>(expected));
    EXPECT_EQ(Nfc(Nfc(text)), Nfc(text));
    std::free(expected);
  }
}

TEST(Nfc, OtherForms) {
  const auto form = [](NormalForm form, std::string_view text) {
    std::string buffer;
    return std::string(Normalize(text, form, buffer));
  };
  EXPECT_EQ(form(NormalForm::kNfd, "\u00e9\ud55c"), "e\u0301\u1112\u1161\u11ab");
  EXPECT_EQ(form(NormalForm::kNfkc, "\ufb01\u00b2 e\u0301"), "fi2 \u00e9");
  EXPECT_EQ(form(NormalForm::kNfkd, "\u00e9\u00bd"), "e\u03011\u20442");
  EXPECT_EQ(form(NormalForm::kNfkd, "\ufdfa").size(), 33u);  // the longest, of 18 code points
  EXPECT_EQ(form(NormalForm::kNfkc, "\u32ff"), "\u32ff");    // newer than Unicode 9.0
}

// Versions as the `tokenizers` package has them.
TEST(Properties, VersionsOfUnicode) {
  EXPECT_TRUE(IsMark(0x301) && IsMark(0x1CF2) && IsMark(0x1171E));
  EXPECT_FALSE(IsMark(0x898) || IsMark(0x113CA) || IsMark('a'));
  EXPECT_TRUE(IsPunctuation('$') && IsPunctuation(0x2014) && IsPunctuation(0x166D));
  EXPECT_FALSE(IsPunctuation(0x1B4E) || IsPunctuation(0x2E52) || IsPunctuation('a'));
  EXPECT_TRUE(IsNumeric('1') && IsNumeric(0xBD) && IsNumeric(0x11DE0));
  EXPECT_FALSE(IsNumeric(0x4E00) || IsNumeric('a'));
  std::string lower;
  for (const int32_t c : {0x41, 0x130, 0x1E9E, 0x10D50, 0x16EA0, 0xA7CB}) AppendLowercase(c, lower);
  EXPECT_EQ(lower, "ai\u0307\u00df\U00010d70\U00016ebb\u0264");
}

std::vector<std::string> ScannedWords(std::string_view text) {
  std::vector<std::string> words;
  while (!text.empty()) {
    const size_t length = FirstGpt2Word(text);
    words.emplace_back(text.substr(0, length));
    text.remove_prefix(length);
  }
  return words;
}

// The scanner is GPT-2's pattern.
TEST(Gpt2Words, ScannerEqualsPattern) {
  const Regex regex(kGpt2Pattern, "test");
  const std::vector<std::string> pieces = {
      "'",          "'s",         "'re",        "'ll",        "'S",        " ",      "  ",
      "\t",         "\n",         "\r\n",       "\u0085",     "\u00a0",    "\u1680", "\u2003",
      "\u2028",     "\u202f",     "\u3000",     "\u200b",     "\u200d",    "\x1c",   "a",
      "Z",          "9",          "_",          "-",          ".",         "é",      "ß",
      "я",          "ש",          "ع",          "ह",          "\u0301",    "한",     "中",
      "٣",          "½",          "Ⅷ",          "²",          "😀",        "\u0000", "\u180e",
      "\U00010d50", "\U00011bf0", "\U0002ebf0", "\U0001fae9", "\U0001171e"};
  std::mt19937 random(4);
  for (int i = 0; i < 30000; ++i) {
    std::string text;
    for (int n = 1 + random() % 10; n > 0; --n) text += pieces[random() % pieces.size()];
    std::vector<std::string> expected;
    regex.ForEachSpan(
        text, [&](Span s) { expected.emplace_back(text.substr(s.begin, s.end - s.begin)); });
    ASSERT_EQ(ScannedWords(text), expected) << text;
  }
}

}  // namespace
}  // namespace pith
