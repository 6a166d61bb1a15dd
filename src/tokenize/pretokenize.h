// Cutting text into words: the pre-tokenizers of tokenizer.json that pith knows.
#ifndef PITH_TOKENIZE_PRETOKENIZE_H_
#define PITH_TOKENIZE_PRETOKENIZE_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace pith {

// Bytes of the first word of `text`, which is valid UTF-8 and not empty. A hand-written scanner
// for GPT-2's pattern (each text is covered without gaps):
//   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
// O(length of the word and of the blanks after it).
size_t FirstGpt2Word(std::string_view text);

// A compiled regular expression (PCRE2: UTF, UCP, JIT). Const and thread-safe. Its Unicode tables
// are the installed PCRE2's (14.0 in Debian 12), and its \s also holds U+180E.
class SplitRegex {
 public:
  // Throws kCorruptData naming `source`, the pattern and the reason where it does not compile.
  SplitRegex(const std::string& pattern, std::string source);

  // Calls `piece` on each match and on each stretch between matches, in order; empty ones are left
  // out. Throws kUnsupported where matching runs into PCRE2's limits.
  void Split(std::string_view text, const std::function<void(std::string_view)>& piece) const;

 private:
  struct Code;
  std::string source_;
  std::shared_ptr<const Code> code_;
};

}  // namespace pith

#endif  // PITH_TOKENIZE_PRETOKENIZE_H_
