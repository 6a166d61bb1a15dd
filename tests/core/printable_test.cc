// What reaches a terminal: bytes that could drive it come out as text, and long texts are cut.

#include "core/printable.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "core/error.h"
#include "core/json.h"
#include "core/utf8.h"

namespace pith {
namespace {

TEST(Printable, KeepsText) {
  for (const std::string_view text :
       {"", "plain text", "naïve café", "日本語", "🦉", "שלום", "\\x1B"}) {
    EXPECT_EQ(Printable(text), text);
  }
}

TEST(Printable, EscapesWhatDrivesATerminal) {
  EXPECT_EQ(Printable("a\x1b[31mred"), "a\\x1B[31mred");
  EXPECT_EQ(Printable(std::string_view("\0\a\b\r\n\t\x7f", 7)), "\\x00\\x07\\x08\\x0D\\n\\t\\x7F");
  EXPECT_EQ(Printable("\u0085\u009b"), "\\xC2\\x85\\xC2\\x9B");  // C1: next line, CSI
  EXPECT_EQ(Printable("\xff\xc3("), "\\xFF\\xC3(");              // not UTF-8
  EXPECT_EQ(Printable("\xed\xa0\x80"), "\\xED\\xA0\\x80");       // half of a surrogate pair
  EXPECT_EQ(Printable("a\nb\r", true), "a\nb\\x0D");
}

TEST(Printable, EscapesWhatReordersOrHides) {
  for (const int32_t c :
       {0x061C, 0x200E, 0x200F, 0x2028, 0x2029, 0x202A, 0x202E, 0x2066, 0x2069, 0xFEFF}) {
    std::string text;
    AppendUtf8(c, text);
    const std::string shown = Printable(text);
    EXPECT_EQ(shown.size(), 4 * text.size()) << std::hex << c;
    EXPECT_TRUE(shown.starts_with("\\x")) << shown;
    EXPECT_EQ(Printable(shown), shown);
  }
}

TEST(Excerpt, CutsLongTextBetweenCharacters) {
  EXPECT_EQ(Excerpt("12345", 5), "12345");
  EXPECT_EQ(Excerpt("123456", 5), "12345… (6 bytes)");
  EXPECT_EQ(Excerpt("ééé", 2), "éé… (6 bytes)");
  EXPECT_EQ(Excerpt("\n\n\n", 2), "\\n\\n… (3 bytes)");
  const std::string cut = Excerpt(std::string(1 << 20, 'a'));
  EXPECT_EQ(cut, std::string(80, 'a') + "… (1048576 bytes)");
}

TEST(Message, PartsFromInputAreCleanAndShort) {
  const std::string hostile = "x\x1b]0;title\a\xff\n" + std::string(1 << 20, 'y');
  try {
    Throw(ErrorCode::kCorruptData, "FILE: field: got '", hostile, "', expected ", 3, '\x1b');
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_TRUE(message.starts_with("FILE: field: got 'x\\x1B]0;title\\x07\\xFF\\nyyy")) << message;
    EXPECT_TRUE(message.ends_with("… (1048589 bytes)', expected 3\\x1B")) << message;
    EXPECT_LT(message.size(), 800u);
  }
}

TEST(JsonText, EscapesAndKeepsTheValue) {
  std::string hostile = "a\x1b\x7f";
  for (const int32_t c : {0x9B, 0x202E, 0x2028, 0xE9, 0x1F989}) AppendUtf8(c, hostile);
  const OrderedJson json = {{hostile, {1, hostile}}};
  const std::string text = JsonText(json);
  EXPECT_EQ(Printable(text), text);
  EXPECT_NE(text.find("\\u202e"), text.npos) << text;
  EXPECT_NE(text.find("é🦉"), text.npos) << "harmless characters stay as they are: " << text;
  EXPECT_EQ(OrderedJson::parse(text), json);
  EXPECT_EQ(OrderedJson::parse(JsonText(json, 1)), json);
  EXPECT_EQ(JsonText({{"a", "\xff"}}), "{\"a\":\"\uFFFD\"}");
}

}  // namespace
}  // namespace pith
