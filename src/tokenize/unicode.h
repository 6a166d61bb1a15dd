// Unicode properties and normalisation, in the versions that the `tokenizers` package uses.
#ifndef PITH_TOKENIZE_UNICODE_H_
#define PITH_TOKENIZE_UNICODE_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace pith {

// What GPT-2's pre-tokenizer distinguishes: \p{L}, \p{N}, \s (the White_Space property) and the
// rest. Unicode 16.0, whatever version the installed utf8proc has.
enum class CharClass : uint8_t { kOther, kLetter, kNumber, kSpace };

CharClass ClassOf(int32_t code_point);

// \w of Unicode's regular expressions (UTS #18): alphabetic, mark, decimal digit, connector
// punctuation or join control.
bool IsWordChar(int32_t code_point);

// Normalisation form C of valid UTF-8. Returns `text` itself where it is already normalised and a
// view of `buffer` elsewhere. O(n log n) at worst, on runs of combining marks.
//
// The package's tables are Unicode 9.0's, so that marks which got a combining class later keep
// their place, and so do they here: models have been trained on ids made in that way.
std::string_view NormalizeNfc(std::string_view text, std::string& buffer);

}  // namespace pith

#endif  // PITH_TOKENIZE_UNICODE_H_
