// The public tokenizer, and decoding one id at a time.
#ifndef PITH_TOKENIZE_TOKENIZER_H_
#define PITH_TOKENIZE_TOKENIZER_H_

#include <cstdint>
#include <string>

#include "pith/tokenizer.h"

namespace pith {

// Decodes one id at a time into text that is always whole, valid UTF-8: a sequence that later
// tokens may complete is held back, what cannot become valid turns into U+FFFD. What was returned
// in all equals ReplaceInvalidUtf8(Decode(ids)). Not thread-safe.
class StreamDecoder {
 public:
  explicit StreamDecoder(Tokenizer tokenizer, bool skip_special = false);

  std::string Push(int32_t id);
  // The end of the text: what was held back, as U+FFFD.
  std::string Finish();

 private:
  Tokenizer tokenizer_;
  bool skip_special_;
  std::string held_;
};

}  // namespace pith

#endif  // PITH_TOKENIZE_TOKENIZER_H_
