// Properties of code points, in the versions of Unicode that the `tokenizers` package uses.
#ifndef PITH_TOKENIZE_UNICODE_H_
#define PITH_TOKENIZE_UNICODE_H_

#include <cstdint>
#include <string>

namespace pith {

// What GPT-2's pre-tokenizer distinguishes: \p{L}, \p{N}, \s (the White_Space property) and the
// rest. Unicode 16.0, whatever version the installed utf8proc has.
enum class CharClass : uint8_t { kOther, kLetter, kNumber, kSpace };

CharClass ClassOf(int32_t code_point);
inline bool IsSpace(int32_t code_point) { return ClassOf(code_point) == CharClass::kSpace; }

// \w of Unicode's regular expressions (UTS #18): alphabetic, mark, decimal digit, connector
// punctuation or join control.
bool IsWordChar(int32_t code_point);

// Numbers of Unicode 17.0.
bool IsNumeric(int32_t code_point);
// ASCII's punctuation, symbols among it, and general category P of Unicode 8.0.
bool IsPunctuation(int32_t code_point);
// General category M of Unicode 9.0.
bool IsMark(int32_t code_point);

// Appends the lower case of `code_point` (Unicode 17.0, full mapping, without context).
void AppendLowercase(int32_t code_point, std::string& out);

// An older code point with the same properties where `code_point` is newer than Unicode 14.0, which
// the installed libraries may not know; else `code_point` itself. Of equal length in UTF-8.
int32_t StandIn(int32_t code_point);

}  // namespace pith

#endif  // PITH_TOKENIZE_UNICODE_H_
