// What becomes of a text that is cut by matches: the behaviours of the `tokenizers` package.
#ifndef PITH_TOKENIZE_SPLIT_H_
#define PITH_TOKENIZE_SPLIT_H_

#include <functional>
#include <string_view>

#include "core/utf8.h"
#include "tokenize/component.h"
#include "tokenize/regex.h"

namespace pith {

enum class SplitBehavior {
  kRemoved,             // matches are dropped
  kIsolated,            // each match is a piece
  kMergedWithPrevious,  // a match goes with the stretch before it
  kMergedWithNext,      // or after it
  kContiguous,          // neighbouring matches are one piece
};

// Reads "Removed", "Isolated", "MergedWithPrevious", "MergedWithNext" or "Contiguous".
SplitBehavior ReadSplitBehavior(const Component& component, const char* field);

// Takes a text's spans in order and hands on its pieces, none of them empty, as soon as they are
// known. O(1) memory.
class Splitter {
 public:
  using Piece = std::function<void(std::string_view)>;

  Splitter(std::string_view text, SplitBehavior behavior, const Piece& piece)
      : text_(text), behavior_(behavior), piece_(piece) {}

  void Add(Span span);
  void Finish();

 private:
  void Emit(const Span& span) const;
  // Whether `span` goes with the piece that waits.
  bool Joins(const Span& span) const;

  std::string_view text_;
  SplitBehavior behavior_;
  const Piece& piece_;
  Span waiting_{};
  bool has_waiting_ = false;
  bool after_match_ = false;  // whether the last span was a match
};

// Cuts `text` (valid UTF-8) at each code point for which `matches(code point)` holds.
template <class Matches>
void SplitAtCodePoints(std::string_view text, SplitBehavior behavior, const Matches& matches,
                       const Splitter::Piece& piece) {
  Splitter splitter(text, behavior, piece);
  size_t done = 0;
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = DecodeUtf8(text.data() + i);
    const size_t next = i + c.length;
    if (matches(c.value)) {
      if (done < i) splitter.Add({done, i, false});
      splitter.Add({i, next, true});
      done = next;
    }
    i = next;
  }
  if (done < text.size()) splitter.Add({done, text.size(), false});
  splitter.Finish();
}

}  // namespace pith

#endif  // PITH_TOKENIZE_SPLIT_H_
