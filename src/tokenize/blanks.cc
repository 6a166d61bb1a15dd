#include "tokenize/blanks.h"

#include <algorithm>
#include <iterator>

namespace pith {
namespace {

using namespace std::string_view_literals;

// UTF-8 of every code point that str.isspace() accepts (Unicode 15).
constexpr std::string_view kBlanks[] = {
    "\t"sv,           "\n"sv,           "\v"sv,           "\f"sv,           "\r"sv,
    "\x1c"sv,         "\x1d"sv,         "\x1e"sv,         "\x1f"sv,         " "sv,
    "\xc2\x85"sv,     "\xc2\xa0"sv,     "\xe1\x9a\x80"sv, "\xe2\x80\x80"sv, "\xe2\x80\x81"sv,
    "\xe2\x80\x82"sv, "\xe2\x80\x83"sv, "\xe2\x80\x84"sv, "\xe2\x80\x85"sv, "\xe2\x80\x86"sv,
    "\xe2\x80\x87"sv, "\xe2\x80\x88"sv, "\xe2\x80\x89"sv, "\xe2\x80\x8a"sv, "\xe2\x80\xa8"sv,
    "\xe2\x80\xa9"sv, "\xe2\x80\xaf"sv, "\xe2\x81\x9f"sv, "\xe3\x80\x80"sv};

}  // namespace

size_t LengthWithoutTrailingBlanks(std::string_view utf8) {
  while (true) {
    const auto* blank = std::find_if(std::begin(kBlanks), std::end(kBlanks),
                                     [&](std::string_view b) { return utf8.ends_with(b); });
    if (blank == std::end(kBlanks)) return utf8.size();
    utf8.remove_suffix(blank->size());
  }
}

}  // namespace pith
