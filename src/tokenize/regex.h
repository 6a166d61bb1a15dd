// Regular expressions as the `tokenizers` package runs them: Oniguruma, its Ruby syntax, UTF-8.
#ifndef PITH_TOKENIZE_REGEX_H_
#define PITH_TOKENIZE_REGEX_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "tokenize/component.h"

namespace pith {

// A stretch of a text: a match, or what lies between two.
struct Span {
  size_t begin, end;
  bool is_match;
};

// Const and thread-safe. Properties are those of Unicode 16.0 whatever version the installed
// Oniguruma has: newer characters are matched as older ones that are like them (see StandIn).
class Regex {
 public:
  // `where` names file and field in messages. Throws kCorruptData with Oniguruma's reason where the
  // pattern does not compile.
  Regex(const std::string& pattern, std::string where);
  // Matches `text` itself.
  static Regex Literal(std::string_view text, std::string where);

  // Calls `visit` on each match and each stretch between matches, in order. Matches may be empty,
  // stretches are not. Throws kUnsupported where the pattern needs too many steps on this text.
  void ForEachSpan(std::string_view text, const std::function<void(Span)>& visit) const;

 private:
  struct Code;
  Regex(const std::string& pattern, std::string where, bool stand_ins);

  std::string where_;
  std::shared_ptr<const Code> code_;
  bool stand_ins_;  // whether newer characters of the text are replaced
};

// Reads {"Regex": "…"} or {"String": "…"}.
Regex ReadPattern(const Component& pattern);

}  // namespace pith

#endif  // PITH_TOKENIZE_REGEX_H_
