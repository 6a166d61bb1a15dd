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

bool BadLines::Try(int64_t line, const std::function<void()>& read) {
  try {
    read();
    return true;
  } catch (const Error& error) {
    if (strict_ || error.code() == ErrorCode::kCancelled) throw;
    report_(error.what());
    lines_.push_back(line);
    return false;
  }
}

std::vector<TextPair> ParseItems(std::string_view text, const std::string& source, BadLines& bad) {
  std::vector<TextPair> pairs;
  int64_t line = 0;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view item = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    ++line;
    if (item.find_first_not_of(" \t\r") == item.npos) continue;
    bad.Try(line, [&] { pairs.push_back(ParseItem(item, source, line)); });
  }
  Require(!pairs.empty(), ErrorCode::kCorruptData, source,
          bad.lines().empty() ? ": no items, expected one a line" : ": no line holds an item");
  return pairs;
}

}  // namespace pith::cli
