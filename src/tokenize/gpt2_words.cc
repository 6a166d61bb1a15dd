#include "tokenize/gpt2_words.h"

#include <array>

#include "core/utf8.h"
#include "tokenize/unicode.h"

namespace pith {
namespace {

constexpr std::array<CharClass, 128> MakeAsciiClasses() {
  std::array<CharClass, 128> classes{};
  for (int c = 0; c < 128; ++c) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    const bool space = c == ' ' || (c >= 9 && c <= 13);
    if (letter) classes[c] = CharClass::kLetter;
    if (c >= '0' && c <= '9') classes[c] = CharClass::kNumber;
    if (space) classes[c] = CharClass::kSpace;
  }
  return classes;
}

constexpr std::array<CharClass, 128> kAsciiClasses = MakeAsciiClasses();

struct ClassedChar {
  CharClass char_class;
  int length;
};

inline ClassedChar Peek(const char* p) {
  const auto byte = static_cast<uint8_t>(*p);
  if (byte < 0x80) return {kAsciiClasses[byte], 1};
  const CodePoint c = DecodeUtf8(p);
  return {ClassOf(c.value), c.length};
}

// The end of the run of `wanted` at `p`.
inline const char* SkipRun(const char* p, const char* end, CharClass wanted) {
  while (p < end) {
    const ClassedChar c = Peek(p);
    if (c.char_class != wanted) break;
    p += c.length;
  }
  return p;
}

// Bytes of the contraction at the front of `text`, 0 where there is none.
size_t Contraction(std::string_view text) {
  for (const std::string_view suffix : {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"}) {
    if (text.starts_with(suffix)) return suffix.size();
  }
  return 0;
}

}  // namespace

size_t FirstGpt2Word(std::string_view text) {
  const char* const begin = text.data();
  const char* const end = begin + text.size();
  if (*begin == '\'') {
    if (const size_t length = Contraction(text); length != 0) return length;
  }
  const char* start = begin;
  ClassedChar first = Peek(start);
  if (*start == ' ' && start + 1 < end) {
    const ClassedChar second = Peek(start + 1);
    if (second.char_class != CharClass::kSpace) {
      ++start;
      first = second;
    }
  }
  const char* const stop = SkipRun(start + first.length, end, first.char_class);
  if (first.char_class != CharClass::kSpace || stop == end) return stop - begin;
  // \s+(?!\S) leaves the last blank to the next word, but one blank alone is \s+.
  const char* const last = stop - DecodeUtf8Before(stop).length;
  return (last == begin ? stop : last) - begin;
}

}  // namespace pith
