#include "tokenize/unicode.h"

#include <utf8proc.h>

#include <iterator>
#include <span>

#include "core/utf8.h"
#include "tokenize/unicode_tables.h"

namespace pith {
namespace {

utf8proc_category_t CategoryOf(int32_t c) {
  const utf8proc_category_t category = utf8proc_category(c);
  return category == UTF8PROC_CATEGORY_CN ? utf8proc_category(StandIn(c)) : category;
}

bool IsMarkCategory(utf8proc_category_t category) {
  return category >= UTF8PROC_CATEGORY_MN && category <= UTF8PROC_CATEGORY_ME;
}

}  // namespace

int32_t StandIn(int32_t c) {
  const StandInRange* const range = c < 0x80 ? nullptr : FindRange(kStandIns, c);
  return range == nullptr ? c : range->stand_in;
}

CharClass ClassOf(int32_t c) {
  switch (CategoryOf(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return CharClass::kLetter;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      return CharClass::kNumber;
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return CharClass::kSpace;
    case UTF8PROC_CATEGORY_CC:
      return (c >= 0x9 && c <= 0xD) || c == 0x85 ? CharClass::kSpace : CharClass::kOther;
    default:
      return CharClass::kOther;
  }
}

bool IsWordChar(int32_t c) {
  // Other_Alphabetic outside of marks: circled, parenthesised and squared Latin letters.
  constexpr CodePointRange kLetterSymbols[] = {
      {0x24B6, 0x24E9}, {0x1F130, 0x1F149}, {0x1F150, 0x1F169}, {0x1F170, 0x1F189}};
  const utf8proc_category_t category = CategoryOf(c);
  return ClassOf(c) == CharClass::kLetter || IsMarkCategory(category) ||
         category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL ||
         category == UTF8PROC_CATEGORY_PC || c == 0x200C || c == 0x200D ||
         FindRange(std::span<const CodePointRange>(kLetterSymbols), c) != nullptr;
}

bool IsNumeric(int32_t c) {
  const bool newest = (c >= 0x11DE0 && c <= 0x11DE9) || (c >= 0x16FF4 && c <= 0x16FF6);
  return newest || ClassOf(c) == CharClass::kNumber;
}

bool IsPunctuation(int32_t c) {
  if (c < 0x80)
    return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
           (c >= '{' && c <= '~');
  // These two had other categories later.
  if (c == 0x166D || c == 0x111C9) return true;
  if (StandIn(c) != c) return false;  // far newer than 8.0
  const utf8proc_category_t category = CategoryOf(c);
  return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO &&
         FindRange(kNewerPunctuation, c) == nullptr;
}

bool IsMark(int32_t c) {
  if (c == 0x1CF2 || c == 0x1CF3) return true;        // letters since Unicode 12.0
  if (StandIn(c) != c && c != 0x1171E) return false;  // newer than 9.0, but for one kind of mark
  return IsMarkCategory(CategoryOf(c)) && FindRange(kNewerMarks, c) == nullptr;
}

void AppendLowercase(int32_t c, std::string& out) {
  struct Shift {
    int32_t first, last, by;
  };
  // Capitals that are newer than Unicode 14.0.
  constexpr Shift kNewer[] = {{0x1C89, 0x1C89, 1},      {0xA7CB, 0xA7CB, 0x264 - 0xA7CB},
                              {0xA7CC, 0xA7CC, 1},      {0xA7CE, 0xA7CE, 1},
                              {0xA7D2, 0xA7D2, 1},      {0xA7D4, 0xA7D4, 1},
                              {0xA7DA, 0xA7DA, 1},      {0xA7DC, 0xA7DC, 0x19B - 0xA7DC},
                              {0x10D50, 0x10D65, 0x20}, {0x16EA0, 0x16EB8, 0x1B}};
  if (c == 0x130) {  // the only one that becomes two
    out += "i\u0307";
    return;
  }
  const Shift* const shift = FindRange(std::span<const Shift>(kNewer), c);
  AppendUtf8(shift != nullptr ? c + shift->by : utf8proc_tolower(c), out);
}

}  // namespace pith
