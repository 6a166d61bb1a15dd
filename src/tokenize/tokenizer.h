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
  // `continues`: the ids go on a text that was there before, so that the first token keeps the
  // blank which some tokenizers put before a text and take away again.
  explicit StreamDecoder(Tokenizer tokenizer, bool skip_special = false, bool continues = false);
  StreamDecoder(StreamDecoder&&) noexcept;
  StreamDecoder& operator=(StreamDecoder&&) noexcept;
  ~StreamDecoder();

  std::string Push(int32_t id);
  // The end of the text: what was held back, as U+FFFD.
  std::string Finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pith

#endif  // PITH_TOKENIZE_TOKENIZER_H_
