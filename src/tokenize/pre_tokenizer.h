// Second stage: normalised text is cut into words, which the model then encodes one by one.
#ifndef PITH_TOKENIZE_PRE_TOKENIZER_H_
#define PITH_TOKENIZE_PRE_TOKENIZER_H_

#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "tokenize/component.h"

namespace pith {

// Valid UTF-8, not empty.
struct Piece {
  std::string_view text;
  bool starts_text;  // whether it begins where the whole text begins
};

// One step of the cutting. Const and thread-safe.
class PreTokenizer {
 public:
  using Sink = std::function<void(Piece)>;
  virtual ~PreTokenizer() = default;
  // Hands the parts of `piece` on, in order; they live until `sink` returns.
  virtual void Cut(Piece piece, const Sink& sink) const = 0;
};

struct ByteLevelOptions {
  bool add_prefix_space;  // a blank goes before each piece that does not start with one
  bool use_regex;         // cut by GPT-2's pattern
};

struct PreTokenizers {
  std::vector<std::unique_ptr<const PreTokenizer>> steps;
  // Whether the characters of words stand for bytes (see byte_level.h).
  bool byte_level = false;
  // ByteLevel as the last step of all, which nearly all byte-level tokenizers have. It is not among
  // `steps`: words can then go to the model as the bytes that they are.
  std::optional<ByteLevelOptions> last;

  // Moves `last` to `steps`, where words become byte-level characters.
  void SpellOutLast();
};

// Where Metaspace puts its mark before a piece.
enum class PrependScheme { kAlways, kFirst, kNever };

// Reads a Metaspace's "prepend_scheme", or the older "add_prefix_space".
PrependScheme ReadPrependScheme(const Component& metaspace);

// Reads "pre_tokenizer"; Sequences may nest.
PreTokenizers ReadPreTokenizers(const Component& pre_tokenizer);

}  // namespace pith

#endif  // PITH_TOKENIZE_PRE_TOKENIZER_H_
