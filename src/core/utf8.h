// UTF-8 as bytes: validation, decoding, and the replacement of what is not UTF-8.
#ifndef PITH_CORE_UTF8_H_
#define PITH_CORE_UTF8_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace pith {

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD

enum class Utf8Kind {
  kValid,       // a whole sequence
  kInvalid,     // no continuation can repair it
  kIncomplete,  // a proper prefix of a valid sequence, cut by the end of the text
};

struct Utf8Sequence {
  Utf8Kind kind;
  size_t length;  // bytes, >= 1
};

// The sequence at the front of `text`, which must not be empty. What is not valid is as long as the
// Unicode Standard's "maximal subpart" (§3.9, table 3-8): the longest prefix of a valid sequence,
// or one byte. Each subpart becomes one U+FFFD, as in Python's bytes.decode("utf-8", "replace").
Utf8Sequence NextUtf8(std::string_view text);

// Bytes of the longest valid prefix.
size_t ValidUtf8Prefix(std::string_view text);

// `text` with each maximal subpart of an ill-formed sequence replaced by U+FFFD.
std::string ReplaceInvalidUtf8(std::string_view text);

struct CodePoint {
  int32_t value;
  int length;  // bytes
};

// The code point at `p`, which must be the start of a valid sequence.
inline CodePoint DecodeUtf8(const char* p) {
  const auto byte = [p](int i) { return static_cast<int32_t>(static_cast<uint8_t>(p[i])); };
  const int32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xE0) return {(lead & 0x1F) << 6 | (byte(1) & 0x3F), 2};
  if (lead < 0xF0) {
    return {(lead & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F), 3};
  }
  return {(lead & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F),
          4};
}

// The code point that ends just before `p` in valid text.
inline CodePoint DecodeUtf8Before(const char* p) {
  do {
    --p;
  } while ((static_cast<uint8_t>(*p) & 0xC0) == 0x80);
  return DecodeUtf8(p);
}

void AppendUtf8(int32_t code_point, std::string& out);

}  // namespace pith

#endif  // PITH_CORE_UTF8_H_
