// Which known name somebody may have meant.
#ifndef PITH_CORE_NEAREST_H_
#define PITH_CORE_NEAREST_H_

#include <span>
#include <string>
#include <string_view>

namespace pith {

// "; did you mean 'NAME'?" for the name that takes the fewest typing errors (a character too much,
// too few, wrong, or two swapped) from `got`, the first of several; empty where that is more than
// one in three characters.
std::string DidYouMean(std::string_view got, std::span<const std::string> names);

}  // namespace pith

#endif  // PITH_CORE_NEAREST_H_
