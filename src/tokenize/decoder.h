// Last stage, the way back: tokens become text.
#ifndef PITH_TOKENIZE_DECODER_H_
#define PITH_TOKENIZE_DECODER_H_

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "tokenize/component.h"

namespace pith {

// What a file's "decoder" says, as far as it can be done a token at a time. Const and thread-safe.
class TokenDecoder {
 public:
  // Without a decoder the `tokenizers` package puts a blank between tokens, and so does this.
  TokenDecoder() : between_(" ") {}
  // Reads "decoder"; Sequences may nest. Throws kUnsupported for what needs the whole text.
  explicit TokenDecoder(const Component& decoder);

  // The bytes that `token` stands for (valid UTF-8, as the file spells it); `first`: whether it is
  // the first of a text. Bytes of byte_fallback need not be UTF-8 by themselves.
  std::string Bytes(std::string_view token, bool first) const;

  // Stands between each two tokens.
  const std::string& between() const { return between_; }

  // How much of that has been taken from a text that comes in parts.
  struct FrontState {
    size_t strip = 0, taken = 0;
  };
  // Takes from `text`, the next part, what is still to be taken.
  void StripFront(FrontState& state, std::string& text) const;

 private:
  // A token on its way to bytes.
  struct Text {
    std::string bytes;
    bool first;
    bool raw = false;  // a part of a character: nothing more can be done to it
  };
  using Step = std::function<void(Text&)>;
  // What is taken from the front of a whole text: `character`, at most `count` times.
  struct FrontStrip {
    std::string character;
    size_t count;
  };

  void Add(const Component& json);
  void AddStrip(const Component& json);

  std::vector<Step> steps_;
  std::string between_;
  std::vector<FrontStrip> front_strips_;
  bool fused_ = false;  // whether the tokens are one text by now
};

}  // namespace pith

#endif  // PITH_TOKENIZE_DECODER_H_
