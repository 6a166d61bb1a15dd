// Blanks at the end of a text, as Python's str.rstrip() sees them.
#ifndef PITH_TOKENIZE_BLANKS_H_
#define PITH_TOKENIZE_BLANKS_H_

#include <cstddef>
#include <string_view>

namespace pith {

// Bytes of `utf8` before its trailing blanks: ASCII blanks, U+001C to U+001F, U+0085, U+00A0 and
// the other Unicode blanks for which str.isspace() holds.
size_t LengthWithoutTrailingBlanks(std::string_view utf8);

}  // namespace pith

#endif  // PITH_TOKENIZE_BLANKS_H_
