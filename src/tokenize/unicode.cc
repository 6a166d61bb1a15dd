#include "tokenize/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <iterator>
#include <vector>

#include "core/error.h"
#include "core/utf8.h"

namespace pith {
namespace {

struct Range {
  int32_t first, last;
};

// Letters and numbers that Unicode 15.1 and 16.0 added: unassigned in Debian 12's utf8proc.
// Sorted, like the next table; tools/tokenizer_parity.py --code-points checks all three.
constexpr Range kNewLetters[] = {
    {0x1C89, 0x1C8A},   {0xA7CB, 0xA7CD},   {0xA7DA, 0xA7DC},   {0x105C0, 0x105F3},
    {0x10D4A, 0x10D65}, {0x10D6F, 0x10D85}, {0x10EC2, 0x10EC4}, {0x11380, 0x11389},
    {0x1138B, 0x1138B}, {0x1138E, 0x1138E}, {0x11390, 0x113B5}, {0x113B7, 0x113B7},
    {0x113D1, 0x113D1}, {0x113D3, 0x113D3}, {0x11BC0, 0x11BE0}, {0x13460, 0x143FA},
    {0x16100, 0x1611D}, {0x16D40, 0x16D6C}, {0x18CFF, 0x18CFF}, {0x1E5D0, 0x1E5ED},
    {0x1E5F0, 0x1E5F0}, {0x2EBF0, 0x2EE5D}};
constexpr Range kNewNumbers[] = {{0x10D40, 0x10D49}, {0x116D0, 0x116E3}, {0x11BF0, 0x11BF9},
                                 {0x16130, 0x16139}, {0x16D70, 0x16D79}, {0x1CCF0, 0x1CCF9},
                                 {0x1E5F1, 0x1E5FA}};

// Marks whose combining class is newer than Unicode 9.0 or was changed since, and the one newer
// composition (U+11938 = U+11935 U+11930): what NFC leaves alone.
constexpr Range kFrozen[] = {
    {0x7FD, 0x7FD},     {0x898, 0x89F},     {0x8CA, 0x8D3},     {0x9FE, 0x9FE},
    {0xC3C, 0xC3C},     {0xD3B, 0xD3C},     {0xEBA, 0xEBA},     {0x1715, 0x1715},
    {0x1ABF, 0x1ACE},   {0x1DF6, 0x1DFA},   {0xA82C, 0xA82C},   {0x10D24, 0x10D27},
    {0x10EAB, 0x10EAC}, {0x10EFD, 0x10EFF}, {0x10F46, 0x10F50}, {0x10F82, 0x10F85},
    {0x11070, 0x11070}, {0x1133B, 0x1133B}, {0x1145E, 0x1145E}, {0x11839, 0x1183A},
    {0x11930, 0x11930}, {0x11938, 0x11938}, {0x1193D, 0x1193E}, {0x11943, 0x11943},
    {0x119E0, 0x119E0}, {0x11A34, 0x11A34}, {0x11A47, 0x11A47}, {0x11A99, 0x11A99},
    {0x11D42, 0x11D42}, {0x11D44, 0x11D45}, {0x11D97, 0x11D97}, {0x11F41, 0x11F42},
    {0x16FF0, 0x16FF1}, {0x1E08F, 0x1E08F}, {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2AE},
    {0x1E2EC, 0x1E2EF}, {0x1E4EC, 0x1E4EF}};

template <size_t n>
bool InRanges(int32_t c, const Range (&ranges)[n]) {
  const auto* it = std::lower_bound(std::begin(ranges), std::end(ranges), c,
                                    [](const Range& r, int32_t value) { return r.last < value; });
  return it != std::end(ranges) && it->first <= c;
}

bool IsMark(utf8proc_category_t category) {
  return category >= UTF8PROC_CATEGORY_MN && category <= UTF8PROC_CATEGORY_ME;
}

// Whether NFC can cut the text before `c` and need not look at `c` on its own: no canonical
// decomposition, no combining class, never the second half of a composition (all of those are
// marks or conjoining vowels and final consonants of Hangul).
bool IsSafe(int32_t c) {
  if (c < 0x300) return c < 0xC0 || utf8proc_get_property(c)->decomp_seqindex == UINT16_MAX;
  const utf8proc_property_t& property = *utf8proc_get_property(c);
  const bool decomposes = property.decomp_seqindex != UINT16_MAX && property.decomp_type == 0;
  const bool jamo = c >= 0x1160 && c <= 0x11FF;
  const bool mark = IsMark(static_cast<utf8proc_category_t>(property.category));
  if (!decomposes && !jamo && !mark && property.combining_class == 0) return true;
  return InRanges(c, kFrozen);
}

int CombiningClass(int32_t c) { return utf8proc_get_property(c)->combining_class; }

// Sorts each run of combining marks by class. utf8proc's own reordering is quadratic.
void ReorderMarks(std::vector<int32_t>& points) {
  for (auto it = points.begin(); it != points.end();) {
    const auto is_mark = [](int32_t c) { return CombiningClass(c) != 0; };
    const auto begin = std::find_if(it, points.end(), is_mark);
    it = std::find_if_not(begin, points.end(), is_mark);
    std::stable_sort(begin, it,
                     [](int32_t a, int32_t b) { return CombiningClass(a) < CombiningClass(b); });
  }
}

// Normalises one segment: a safe code point (or none, at the start of a text) and the unsafe ones
// after it. `points` is scratch.
void AppendSegment(std::string_view segment, std::vector<int32_t>& points, std::string& out) {
  points.clear();
  for (const char *p = segment.data(), *end = p + segment.size(); p < end;) {
    const CodePoint c = DecodeUtf8(p);
    p += c.length;
    if (InRanges(c.value, kFrozen)) {  // only ever the first of a segment
      AppendUtf8(c.value, out);
      continue;
    }
    // The longest canonical decomposition has four code points.
    utf8proc_int32_t parts[8];
    int boundary_class = 0;
    const auto count = utf8proc_decompose_char(c.value, parts, std::size(parts), UTF8PROC_DECOMPOSE,
                                               &boundary_class);
    PITH_CHECK(count > 0 && count <= static_cast<utf8proc_ssize_t>(std::size(parts)));
    points.insert(points.end(), parts, parts + count);
  }
  ReorderMarks(points);
  const auto length =
      utf8proc_normalize_utf32(points.data(), static_cast<utf8proc_ssize_t>(points.size()),
                               static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  PITH_CHECK(length >= 0);
  for (utf8proc_ssize_t i = 0; i < length; ++i) AppendUtf8(points[i], out);
}

}  // namespace

CharClass ClassOf(int32_t c) {
  switch (utf8proc_category(c)) {
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
    case UTF8PROC_CATEGORY_CN:
      if (InRanges(c, kNewLetters)) return CharClass::kLetter;
      return InRanges(c, kNewNumbers) ? CharClass::kNumber : CharClass::kOther;
    default:
      return CharClass::kOther;
  }
}

bool IsWordChar(int32_t c) {
  // Other_Alphabetic outside of marks: circled, parenthesised and squared Latin letters.
  constexpr Range kLetterSymbols[] = {
      {0x24B6, 0x24E9}, {0x1F130, 0x1F149}, {0x1F150, 0x1F169}, {0x1F170, 0x1F189}};
  const utf8proc_category_t category = utf8proc_category(c);
  return ClassOf(c) == CharClass::kLetter || IsMark(category) || category == UTF8PROC_CATEGORY_ND ||
         category == UTF8PROC_CATEGORY_NL || category == UTF8PROC_CATEGORY_PC || c == 0x200C ||
         c == 0x200D || InRanges(c, kLetterSymbols);
}

std::string_view NormalizeNfc(std::string_view text, std::string& buffer) {
  // All code points below U+0300, whose first bytes are below 0xCC, are NFC in any order.
  const auto is_high = [](char byte) { return static_cast<uint8_t>(byte) >= 0xCC; };
  if (std::none_of(text.begin(), text.end(), is_high)) return text;

  buffer.clear();
  std::vector<int32_t> points;
  const char* const end = text.data() + text.size();
  const char* copied = text.data();   // all before is in `buffer`
  const char* segment = text.data();  // the last safe code point
  for (const char* p = text.data(); p < end;) {
    const CodePoint c = DecodeUtf8(p);
    if (IsSafe(c.value)) {
      segment = p;
      p += c.length;
      continue;
    }
    while (p < end && !IsSafe(DecodeUtf8(p).value)) p += DecodeUtf8(p).length;
    buffer.append(copied, segment);
    AppendSegment({segment, p}, points, buffer);
    copied = segment = p;
  }
  if (copied == text.data()) return text;
  buffer.append(copied, end);
  return buffer;
}

}  // namespace pith
