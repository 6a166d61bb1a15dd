// The merges of a byte-pair encoding, as files list them.
#ifndef PITH_TOKENIZE_MERGES_H_
#define PITH_TOKENIZE_MERGES_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "tokenize/bpe.h"

namespace pith {

// "a b" → {"a", "b"}. Throws kCorruptData, beginning with `where`, unless one blank stands there.
std::pair<std::string, std::string> SplitMerge(std::string_view text, const std::string& where);

// Adds merges to a spec whose vocabulary is complete, by rank.
class MergeList {
 public:
  // `vocabulary` is what messages call it.
  MergeList(BpeSpec& spec, std::string_view vocabulary) : spec_(spec), vocabulary_(vocabulary) {}
  // Throws kCorruptData, beginning with `where`, where a part or the whole is no token of the
  // vocabulary, or an earlier merge has the same parts.
  void Add(const std::string& left, const std::string& right, const std::string& where);

 private:
  BpeSpec& spec_;
  std::string_view vocabulary_;
  std::unordered_set<uint64_t> pairs_;
};

}  // namespace pith

#endif  // PITH_TOKENIZE_MERGES_H_
