#include "cli/score_items.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace pith::cli {
namespace {

TextPair ParseItem(std::string_view text, const std::string& source, int64_t line) {
  const std::string place = StrCat(source, ":", line);
  const Json json = ParseJson(text, place);
  const JsonReader reader(json, place);
  TextPair pair{line, nullptr, reader.String("context"), reader.String("continuation")};
  if (reader.Has("id")) {
    pair.id = reader.Field("id");
    if (!pair.id.is_string() && !pair.id.is_number()) reader.Fail("id", "a string or a number");
  }
  if (pair.continuation.empty()) reader.Fail("continuation", "at least one character");
  return pair;
}

}  // namespace

std::vector<TextPair> ParseItems(std::string_view text, const std::string& source) {
  std::vector<TextPair> pairs;
  int64_t line = 0;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view item = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    ++line;
    if (item.find_first_not_of(" \t\r") == item.npos) continue;
    pairs.push_back(ParseItem(item, source, line));
  }
  Require(!pairs.empty(), ErrorCode::kCorruptData, source, ": no items, expected one a line");
  return pairs;
}

}  // namespace pith::cli
