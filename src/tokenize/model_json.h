// The "model" of a tokenizer.json, checked.
#ifndef PITH_TOKENIZE_MODEL_JSON_H_
#define PITH_TOKENIZE_MODEL_JSON_H_

#include "tokenize/bpe.h"
#include "tokenize/component.h"

namespace pith {

inline constexpr int64_t kMaxTokenId = (int64_t{1} << 22) - 1;

BpeSpec ReadBpe(const Component& model);

}  // namespace pith

#endif  // PITH_TOKENIZE_MODEL_JSON_H_
