// tokenizer.json, checked: what remains is what pith implements.
#ifndef PITH_TOKENIZE_TOKENIZER_JSON_H_
#define PITH_TOKENIZE_TOKENIZER_JSON_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tokenize/added_tokens.h"
#include "tokenize/bpe.h"

namespace pith {

struct PreTokenizerStage {
  bool byte_level;        // false: Split
  bool add_prefix_space;  // ByteLevel: a blank goes before each piece that does not start with one
  bool use_regex;         // ByteLevel: cut by GPT-2's pattern
  std::string pattern;    // Split
};

struct TokenizerSpec {
  std::string source;                     // the file's name, for messages
  StringMap<int32_t> vocab;               // by byte-level string, added tokens left out
  std::vector<Merge> merges;              // by rank
  std::vector<AddedToken> added_tokens;   // special ones first, then as in the file
  std::vector<PreTokenizerStage> stages;  // the last one is ByteLevel, the others are not
  bool nfc = false;                       // normalise to form C
  bool ignore_merges = false;             // a word that is in the vocab is not merged
};

inline constexpr int64_t kMaxTokenId = (int64_t{1} << 22) - 1;
inline constexpr int64_t kMaxTokenizerBytes = int64_t{256} << 20;

// Throws kCorruptData for what no tokenizer.json can be, kUnsupported for what one can be but pith
// does not implement, both naming `source`, the field and the value.
TokenizerSpec ParseTokenizerJson(std::string_view text, const std::string& source);

}  // namespace pith

#endif  // PITH_TOKENIZE_TOKENIZER_JSON_H_
