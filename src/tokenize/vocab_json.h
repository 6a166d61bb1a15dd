// The JSON of a tokenizer.json, with its one huge object read apart.
#ifndef PITH_TOKENIZE_VOCAB_JSON_H_
#define PITH_TOKENIZE_VOCAB_JSON_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "core/json.h"
#include "tokenize/bpe.h"

namespace pith {

inline constexpr int64_t kMaxTokenId = (int64_t{1} << 22) - 1;

struct TokenizerText {
  Json root;                 // model.vocab is left empty
  StringMap<int32_t> vocab;  // model.vocab
};

// Throws kCorruptData on malformed text, nesting deeper than 64, a key that stands twice, more than
// 4096 keys in an object other than model.vocab, and on a vocab with an empty token, an id outside
// of 0 to kMaxTokenId or one id for two tokens. (Json's objects are searched from end to end for
// each key that is added: 50,000 tokens would take seconds.)
TokenizerText ParseTokenizerText(std::string_view text, const std::string& source);

}  // namespace pith

#endif  // PITH_TOKENIZE_VOCAB_JSON_H_
