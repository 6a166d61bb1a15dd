// GPT-2's byte alphabet: each of the 256 bytes has a printable code point that stands for it in the
// strings of vocab and merges (0x20 is U+0120 "Ġ").
#ifndef PITH_TOKENIZE_BYTE_LEVEL_H_
#define PITH_TOKENIZE_BYTE_LEVEL_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace pith {

std::string ByteLevelChar(uint8_t byte);

// The bytes that a token's string stands for. A string with any code point outside of the alphabet
// (added tokens made of blanks, say) stands for its own UTF-8 bytes, as in the `tokenizers`
// package. `token` must be valid UTF-8.
std::string ByteLevelDecode(std::string_view token);

}  // namespace pith

#endif  // PITH_TOKENIZE_BYTE_LEVEL_H_
