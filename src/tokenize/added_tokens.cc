#include "tokenize/added_tokens.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/utf8.h"
#include "tokenize/unicode.h"

namespace pith {
namespace {

size_t BlanksAtFront(std::string_view text) {
  const char *p = text.data(), *const end = p + text.size();
  while (p < end && ClassOf(DecodeUtf8(p).value) == CharClass::kSpace) p += DecodeUtf8(p).length;
  return p - text.data();
}

size_t BlanksAtBack(std::string_view text) {
  const char* p = text.data() + text.size();
  while (p > text.data()) {
    const CodePoint c = DecodeUtf8Before(p);
    if (ClassOf(c.value) != CharClass::kSpace) break;
    p -= c.length;
  }
  return text.data() + text.size() - p;
}

bool IsSingleWord(std::string_view text, size_t begin, size_t end) {
  const bool left = begin > 0 && IsWordChar(DecodeUtf8Before(text.data() + begin).value);
  const bool right = end < text.size() && IsWordChar(DecodeUtf8(text.data() + end).value);
  return !left && !right;
}

}  // namespace

AddedTokenMatcher::AddedTokenMatcher(std::vector<AddedToken> tokens)
    : tokens_(std::move(tokens)), token_at_(1, -1) {
  for (size_t i = 0; i < tokens_.size(); ++i) {
    const std::string& content = tokens_[i].content;
    PITH_CHECK(!content.empty());
    uint32_t node = 0;
    for (const char byte : content) {
      const uint64_t key = static_cast<uint64_t>(node) << 8 | static_cast<uint8_t>(byte);
      const auto [edge, added] = edges_.try_emplace(key, static_cast<uint32_t>(token_at_.size()));
      if (added) token_at_.push_back(-1);
      node = edge->second;
    }
    if (token_at_[node] < 0) token_at_[node] = static_cast<int32_t>(i);
    const size_t first = static_cast<uint8_t>(content[0]);
    for (size_t second = 0; second < 256; ++second) {
      if (content.size() == 1 || static_cast<uint8_t>(content[1]) == second) {
        starts_.set(first << 8 | second);
      }
    }
  }
}

const AddedToken* AddedTokenMatcher::LongestAt(std::string_view text) const {
  const AddedToken* longest = nullptr;
  uint32_t node = 0;
  for (const char byte : text) {
    const auto edge = edges_.find(static_cast<uint64_t>(node) << 8 | static_cast<uint8_t>(byte));
    if (edge == edges_.end()) break;
    node = edge->second;
    if (token_at_[node] >= 0) longest = &tokens_[token_at_[node]];
  }
  return longest;
}

AddedTokenMatcher::Match AddedTokenMatcher::FindNext(std::string_view text, size_t from) const {
  for (size_t i = from; i < text.size(); ++i) {
    const size_t first = static_cast<uint8_t>(text[i]);
    // The last byte has no second one: LongestAt decides.
    if (i + 1 < text.size() && !starts_[first << 8 | static_cast<uint8_t>(text[i + 1])]) continue;
    if (const AddedToken* token = LongestAt(text.substr(i))) {
      return {i, i + token->content.size(), token};
    }
  }
  return {text.size(), text.size(), nullptr};
}

void AddedTokenMatcher::Split(std::string_view text,
                              const std::function<void(std::string_view)>& on_text,
                              const std::function<void(int32_t)>& on_token) const {
  size_t done = 0;
  const auto flush = [&](size_t until) {
    if (done < until) on_text(text.substr(done, until - done));
  };
  if (!tokens_.empty()) {
    // As in the `tokenizers` package, the search goes on after the token itself, even where the
    // blanks that rstrip took reach further.
    for (Match match = FindNext(text, 0); match.token != nullptr;
         match = FindNext(text, match.end)) {
      const AddedToken& token = *match.token;
      if (token.single_word && !IsSingleWord(text, match.begin, match.end)) continue;
      size_t begin = match.begin;
      if (token.lstrip) {
        begin = std::max(done, match.begin - BlanksAtBack(text.substr(0, match.begin)));
      }
      flush(begin);
      on_token(token.id);
      done = match.end + (token.rstrip ? BlanksAtFront(text.substr(match.end)) : 0);
    }
  }
  flush(text.size());
}

}  // namespace pith
