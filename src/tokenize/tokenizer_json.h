// tokenizer.json, checked: what remains is what pith implements.
#ifndef PITH_TOKENIZE_TOKENIZER_JSON_H_
#define PITH_TOKENIZE_TOKENIZER_JSON_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tokenize/added_tokens.h"
#include "tokenize/bpe.h"
#include "tokenize/decoder.h"
#include "tokenize/normalizer.h"
#include "tokenize/pre_tokenizer.h"

namespace pith {

struct TokenizerSpec {
  std::vector<AddedToken> added_tokens;  // special ones first, then as in the file
  Normalizers normalizers;
  PreTokenizers pre_tokenizers;
  BpeSpec model;  // its vocabulary leaves out what only added_tokens name
  TokenDecoder decoder;
};

inline constexpr int64_t kMaxTokenizerBytes = int64_t{256} << 20;

// Throws kCorruptData for what no tokenizer.json can be, kUnsupported for what one can be but pith
// does not implement, both naming `source`, the field and the value.
TokenizerSpec ParseTokenizerJson(std::string_view text, const std::string& source);

}  // namespace pith

#endif  // PITH_TOKENIZE_TOKENIZER_JSON_H_
