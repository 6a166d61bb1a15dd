// What Unicode's versions disagree about. The parts of the `tokenizers` package use different ones
// (16.0 in patterns, 17.0 for digits and case, 9.0 for normal forms, 8.0 for punctuation), and
// models have been trained on ids made in that way; installed libraries have other versions still.
// tools/tokenizer_parity.py code-points checks every table on every code point.
#ifndef PITH_TOKENIZE_UNICODE_TABLES_H_
#define PITH_TOKENIZE_UNICODE_TABLES_H_

#include <algorithm>
#include <cstdint>
#include <span>

namespace pith {

struct CodePointRange {
  int32_t first, last;
};

// A range of code points that are newer than Unicode 14.0 (or were changed since), and an older one
// that has the same general category, UTF-8 length, and membership in Alphabetic, \\w and Han.
struct StandInRange {
  int32_t first, last, stand_in;
};

// All tables are sorted.
extern const std::span<const StandInRange> kStandIns;
// Marks whose combining class is newer than Unicode 9.0 or was changed since, and the one newer
// composition (U+11938 = U+11935 U+11930): what normal forms leave alone.
extern const std::span<const CodePointRange> kNewerThanNormalForms;
// Code points whose compatibility decomposition is newer than Unicode 9.0.
extern const std::span<const CodePointRange> kNewerThanCompatibilityForms;
// Marks (general category M) that are newer than Unicode 9.0.
extern const std::span<const CodePointRange> kNewerMarks;
// Punctuation (general category P) that is newer than Unicode 8.0.
extern const std::span<const CodePointRange> kNewerPunctuation;

template <class Range>
const Range* FindRange(std::span<const Range> ranges, int32_t c) {
  const auto it = std::lower_bound(ranges.begin(), ranges.end(), c,
                                   [](const Range& r, int32_t value) { return r.last < value; });
  return it != ranges.end() && it->first <= c ? &*it : nullptr;
}

}  // namespace pith

#endif  // PITH_TOKENIZE_UNICODE_TABLES_H_
