#include "tokenize/normal_form.h"

#include <utf8proc.h>

#include <algorithm>
#include <iterator>
#include <vector>

#include "core/error.h"
#include "core/utf8.h"
#include "tokenize/unicode_tables.h"

namespace pith {
namespace {

bool Decomposes(NormalForm form) { return form == NormalForm::kNfd || form == NormalForm::kNfkd; }
bool IsCompatibility(NormalForm form) {
  return form == NormalForm::kNfkc || form == NormalForm::kNfkd;
}

bool IsFrozen(int32_t c, NormalForm form) {
  return FindRange(kNewerThanNormalForms, c) != nullptr ||
         (IsCompatibility(form) && FindRange(kNewerThanCompatibilityForms, c) != nullptr);
}

// Whether normalisation can cut the text before `c` and need not look at `c` on its own: no
// decomposition of the form's kind, no combining class, never the second half of a composition (all
// of those are marks or conjoining vowels and final consonants of Hangul).
bool IsSafe(int32_t c, NormalForm form) {
  if (c < 0xA0) return true;
  const utf8proc_property_t& property = *utf8proc_get_property(c);
  const bool decomposes = property.decomp_seqindex != UINT16_MAX &&
                          (property.decomp_type == 0 || IsCompatibility(form));
  if (c < 0x300) return !decomposes;
  const bool hangul =
      (c >= 0x1160 && c <= 0x11FF) || (Decomposes(form) && c >= 0xAC00 && c <= 0xD7A3);
  const bool mark =
      property.category >= UTF8PROC_CATEGORY_MN && property.category <= UTF8PROC_CATEGORY_ME;
  if (!decomposes && !hangul && !mark && property.combining_class == 0) return true;
  return IsFrozen(c, form);
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
void AppendSegment(std::string_view segment, NormalForm form, std::vector<int32_t>& points,
                   std::string& out) {
  points.clear();
  const int compatibility = IsCompatibility(form) ? UTF8PROC_COMPAT : 0;
  for (const char *p = segment.data(), *end = p + segment.size(); p < end;) {
    const CodePoint c = DecodeUtf8(p);
    p += c.length;
    if (IsFrozen(c.value, form)) {  // only ever the first of a segment
      AppendUtf8(c.value, out);
      continue;
    }
    // The longest decomposition, U+FDFA's, has eighteen code points.
    utf8proc_int32_t parts[32];
    int boundary_class = 0;
    const auto count = utf8proc_decompose_char(
        c.value, parts, std::size(parts),
        static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | compatibility), &boundary_class);
    PITH_CHECK(count > 0 && count <= static_cast<utf8proc_ssize_t>(std::size(parts)));
    points.insert(points.end(), parts, parts + count);
  }
  ReorderMarks(points);
  auto length = static_cast<utf8proc_ssize_t>(points.size());
  if (!Decomposes(form)) {
    length = utf8proc_normalize_utf32(
        points.data(), length, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  }
  PITH_CHECK(length >= 0);
  for (utf8proc_ssize_t i = 0; i < length; ++i) AppendUtf8(points[i], out);
}

}  // namespace

std::string_view Normalize(std::string_view text, NormalForm form, std::string& buffer) {
  // ASCII is in every form. All code points below U+0300, whose first bytes are below 0xCC, are in
  // form C in any order.
  const uint8_t high = form == NormalForm::kNfc ? 0xCC : 0x80;
  const auto is_high = [high](char byte) { return static_cast<uint8_t>(byte) >= high; };
  if (std::none_of(text.begin(), text.end(), is_high)) return text;

  buffer.clear();
  std::vector<int32_t> points;
  const char* const end = text.data() + text.size();
  const char* copied = text.data();   // all before is in `buffer`
  const char* segment = text.data();  // the last safe code point
  for (const char* p = text.data(); p < end;) {
    const CodePoint c = DecodeUtf8(p);
    if (IsSafe(c.value, form)) {
      segment = p;
      p += c.length;
      continue;
    }
    while (p < end && !IsSafe(DecodeUtf8(p).value, form)) p += DecodeUtf8(p).length;
    buffer.append(copied, segment);
    AppendSegment({segment, p}, form, points, buffer);
    copied = segment = p;
  }
  if (copied == text.data()) return text;
  buffer.append(copied, end);
  return buffer;
}

}  // namespace pith
