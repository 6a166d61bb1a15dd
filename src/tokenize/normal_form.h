// Unicode's normal forms, in the version that the `tokenizers` package uses.
#ifndef PITH_TOKENIZE_NORMAL_FORM_H_
#define PITH_TOKENIZE_NORMAL_FORM_H_

#include <string>
#include <string_view>

namespace pith {

enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };

// A normal form of valid UTF-8. Returns `text` itself where it is already in that form and a view
// of `buffer` elsewhere. O(n log n) at worst, on runs of combining marks.
//
// The package's tables are Unicode 9.0's, so that marks which got a combining class later keep
// their place, and so do they here: models have been trained on ids made in that way.
std::string_view Normalize(std::string_view text, NormalForm form, std::string& buffer);

}  // namespace pith

#endif  // PITH_TOKENIZE_NORMAL_FORM_H_
