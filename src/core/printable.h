// Text of unknown origin, made safe to show to people.
#ifndef PITH_CORE_PRINTABLE_H_
#define PITH_CORE_PRINTABLE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace pith {

// May drive the terminal or the page that shows it, or make text read in another order than it
// stands: control characters (C0, DEL, C1), Unicode's bidirectional controls, line and paragraph
// separators, and the byte-order mark, which nobody sees.
bool IsUnsafeToShow(int32_t code_point);

// Valid UTF-8 that holds nothing unsafe: each byte of what is unsafe or not UTF-8 becomes \n, \t or
// \xHH. Printable text stays as it is, so doing it twice does no harm. `keep_newlines` leaves line
// feeds as they are.
std::string Printable(std::string_view bytes, bool keep_newlines = false);

// Printable, and cut: of a longer text the first `most` characters, then "… (1234 bytes)".
std::string Excerpt(std::string_view bytes, size_t most = 80);

}  // namespace pith

#endif  // PITH_CORE_PRINTABLE_H_
