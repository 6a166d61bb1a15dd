// Cutting text into words by GPT-2's pattern, which most byte-level tokenizers use.
#ifndef PITH_TOKENIZE_GPT2_WORDS_H_
#define PITH_TOKENIZE_GPT2_WORDS_H_

#include <cstddef>
#include <string_view>

namespace pith {

// Bytes of the first word of `text`, which is valid UTF-8 and not empty. A hand-written scanner
// for GPT-2's pattern (each text is covered without gaps):
//   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
// O(length of the word and of the blanks after it).
size_t FirstGpt2Word(std::string_view text);

}  // namespace pith

#endif  // PITH_TOKENIZE_GPT2_WORDS_H_
