// Added tokens: strings that become one id wherever they stand in a text, before words are cut.
#ifndef PITH_TOKENIZE_ADDED_TOKENS_H_
#define PITH_TOKENIZE_ADDED_TOKENS_H_

#include <bitset>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace pith {

struct AddedToken {
  int32_t id;
  std::string content;
  bool single_word;  // matches only where no word character stands beside it
  bool lstrip;       // takes the blanks before it
  bool rstrip;       // takes the blanks after it
  bool normalized;   // is normalised, and matched in normalised text
  bool special;      // control token, not text
};

// Leftmost-longest search for any of a set of added tokens. Const and thread-safe.
class AddedTokenMatcher {
 public:
  // Bytes of a token's content in a file; bounds the cost of one position.
  static constexpr size_t kMaxContent = 1024;

  // Of tokens with equal content the first one wins.
  explicit AddedTokenMatcher(std::vector<AddedToken> tokens);

  // Calls `on_text` and `on_token` on what `text` (valid UTF-8) is made of, in order.
  void Split(std::string_view text, const std::function<void(std::string_view)>& on_text,
             const std::function<void(int32_t)>& on_token) const;

 private:
  struct Match {
    size_t begin, end;
    const AddedToken* token;  // null: none up to the end of the text
  };
  Match FindNext(std::string_view text, size_t from) const;
  // The longest token at the front of `text`; null: none.
  const AddedToken* LongestAt(std::string_view text) const;

  std::vector<AddedToken> tokens_;
  std::unordered_map<uint64_t, uint32_t> edges_;  // trie: node << 8 | byte -> node; root: 0
  std::vector<int32_t> token_at_;                 // [nodes] index into tokens_, or -1
  std::bitset<65536> starts_;                     // first two bytes of any token, or its only one
};

}  // namespace pith

#endif  // PITH_TOKENIZE_ADDED_TOKENS_H_
