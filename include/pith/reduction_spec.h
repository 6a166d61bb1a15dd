// The grammar in which users write reductions.
#ifndef PITH_REDUCTION_SPEC_H_
#define PITH_REDUCTION_SPEC_H_

#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace pith {

// `METHOD[@N%][:key=value,…]` taken apart (docs/reductions.md). Does not know methods or their
// keys.
struct ReductionSpec {
  std::string method = "none";
  std::optional<double> reduction;            // wanted share of FLOPs, 0 ≤ reduction < 1
  std::map<std::string, std::string> params;  // each key once

  // Throws kInvalidArgument, naming the part that is wrong and what was expected. Never reads a
  // file; some methods' options name one, which compiling reads (FilesOf, reduce/registry.h).
  static ReductionSpec Parse(std::string_view text);
  // For front ends whose user owns the machine: `@FILE` stands for the one spec that FILE holds
  // beside lines of comment, which begin with '#'; anything else is parsed as it is. Also throws as
  // ReadFile does.
  static ReductionSpec ParseOrRead(std::string_view text);

  // The canonical spelling: keys in alphabetical order. Parse(ToString()) gives the same spec.
  std::string ToString() const;
  bool operator==(const ReductionSpec&) const = default;
};

}  // namespace pith

#endif  // PITH_REDUCTION_SPEC_H_
