#include "tokenize/merges.h"

#include "core/error.h"
#include "tokenize/component.h"

namespace pith {
namespace {

std::string Quoted(std::string_view text) { return Shown(Json(text)); }

}  // namespace

std::pair<std::string, std::string> SplitMerge(std::string_view text, const std::string& where) {
  const size_t blank = text.find(' ');
  Require(blank != text.npos && blank == text.rfind(' '), ErrorCode::kCorruptData, where, "got ",
          Quoted(text), ", expected two tokens with one blank between them");
  return {std::string(text.substr(0, blank)), std::string(text.substr(blank + 1))};
}

void MergeList::Add(const std::string& left, const std::string& right, const std::string& where) {
  const auto id_of = [&](const std::string& token) {
    const auto it = spec_.vocab.find(token);
    Require(it != spec_.vocab.end(), ErrorCode::kCorruptData, where, Quoted(token), " is not in ",
            vocabulary_);
    return it->second;
  };
  Require(right.size() >= spec_.prefix.size(), ErrorCode::kCorruptData, where, "got ",
          Quoted(right), ", expected continuing_subword_prefix before it");
  const Merge merge{id_of(left), id_of(right), id_of(left + right.substr(spec_.prefix.size())),
                    static_cast<int32_t>(spec_.merges.size())};
  const uint64_t pair = static_cast<uint64_t>(merge.left) << 32 | merge.right;
  Require(pairs_.insert(pair).second, ErrorCode::kCorruptData, where, Quoted(left), " and ",
          Quoted(right), " are merged by an earlier entry too");
  spec_.merges.push_back(merge);
}

}  // namespace pith
