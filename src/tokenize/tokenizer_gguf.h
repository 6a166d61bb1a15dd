// The tokenizer of a GGUF file: a byte-pair encoding, byte-level with merges as llama.cpp's "gpt2"
// is, or of pieces with scores as its "llama" is (see gguf_pieces.h).
#ifndef PITH_TOKENIZE_TOKENIZER_GGUF_H_
#define PITH_TOKENIZE_TOKENIZER_GGUF_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/gguf.h"
#include "tokenize/tokenizer_json.h"

namespace pith {

// Whether the file brings a vocabulary at all.
bool HasVocabulary(const Gguf& file);

// Throws kNotFound where it brings none, kUnsupported for a model or a pre-tokenizer that pith does
// not know, kCorruptData for tokens, types, merges or scores that contradict each other.
TokenizerSpec ReadGgufTokenizer(const Gguf& file);

// The types that GGUF gives to tokens.
enum class GgufTokenType : int32_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,      // a special added token
  kUserDefined = 4,  // an added token that is text
  kUnused = 5,       // no token: fills the embedding's padding
  kByte = 6          // of "llama" alone: stands for a byte of characters that are no tokens
};

// What a GGUF file says of a tokenizer.
struct GgufVocabulary {
  bool pieces = false;  // the model is "llama"; else "gpt2"
  std::string pre;      // of the pre-tokenizer
  std::vector<std::string> tokens;
  std::vector<GgufTokenType> types;
  std::vector<std::string> merges;  // of "gpt2"
  std::vector<float> scores;        // of "llama", one for each token
  bool add_space_prefix = true;     // of "llama": see gguf_pieces.h
};

// Of a tokenizer.json, filled up to `size` tokens. Throws kUnsupported, naming the field, where a
// GGUF file cannot say what the tokenizer does; kCorruptData where it has more than `size` ids.
GgufVocabulary ToGgufVocabulary(std::string_view tokenizer_json, const std::string& source,
                                int64_t size);
// Of a GGUF file, which has exactly `size` tokens.
GgufVocabulary ToGgufVocabulary(const Gguf& file, int64_t size);

}  // namespace pith

#endif  // PITH_TOKENIZE_TOKENIZER_GGUF_H_
