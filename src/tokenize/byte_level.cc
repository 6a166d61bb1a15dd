#include "tokenize/byte_level.h"

#include <array>

#include "core/utf8.h"

namespace pith {
namespace {

constexpr int kAlphabetEnd = 0x144;  // 256 + the 68 bytes that are not printable in Latin-1

struct Alphabet {
  std::array<int16_t, 256> code_point{};
  std::array<int16_t, kAlphabetEnd> byte{};  // -1: not in the alphabet
};

constexpr Alphabet MakeAlphabet() {
  Alphabet alphabet;
  alphabet.byte.fill(-1);
  int16_t next = 256;
  for (int16_t b = 0; b < 256; ++b) {
    const bool printable = (b >= '!' && b <= '~') || (b >= 0xA1 && b != 0xAD);
    const int16_t c = printable ? b : next++;
    alphabet.code_point[b] = c;
    alphabet.byte[c] = b;
  }
  return alphabet;
}

constexpr Alphabet kAlphabet = MakeAlphabet();

}  // namespace

std::string ByteLevelChar(uint8_t byte) {
  std::string out;
  AppendUtf8(kAlphabet.code_point[byte], out);
  return out;
}

std::string ByteLevelDecode(std::string_view token) {
  std::string bytes;
  for (const char *p = token.data(), *end = p + token.size(); p < end;) {
    const CodePoint c = DecodeUtf8(p);
    if (c.value >= kAlphabetEnd || kAlphabet.byte[c.value] < 0) return std::string(token);
    bytes.push_back(static_cast<char>(kAlphabet.byte[c.value]));
    p += c.length;
  }
  return bytes;
}

}  // namespace pith
