// What requests name: states and reductions.
#include <algorithm>
#include <limits>
#include <string>
#include <string_view>

#include "core/error.h"
#include "core/json.h"
#include "pith/reduction_spec.h"
#include "pith/scheduler.h"
#include "serve/request.h"

namespace pith::serve {

bool IsStateName(std::string_view name) {
  const auto letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  return !name.empty() && name.size() <= kLongestStateName && letter(name.front()) &&
         std::ranges::all_of(name,
                             [&](char c) { return letter(c) || c == '.' || c == '_' || c == '-'; });
}

int64_t PieceOf(const JsonReader& reader) {
  const int64_t piece = reader.Int("piece", 0, std::numeric_limits<int32_t>::max());
  if (piece != 0 && piece < kLeastPiece)
    reader.Fail("piece", StrCat("0, or at least ", kLeastPiece));
  return piece;
}

ReductionChoice ParseReduction(std::string_view text) {
  Require(text.size() <= kLongestReduction, ErrorCode::kInvalidArgument, "reduction: got ",
          text.size(), " bytes, expected at most ", kLongestReduction);
  ReductionSpec spec = ReductionSpec::Parse(text);
  Json ours = Json::object();
  for (const char* key : {"piece", "protect"}) {
    const auto at = spec.params.find(key);
    if (at == spec.params.end()) continue;
    const Json value = Json::parse(at->second, nullptr, /*allow_exceptions=*/false);
    ours[key] = value.is_discarded() ? Json(at->second) : value;
    spec.params.erase(at);
  }
  const JsonReader reader(ours, StrCat("reduction '", text, "'"));
  ReductionChoice choice;
  if (reader.Has("piece")) choice.piece = PieceOf(reader);
  if (reader.Has("protect")) {
    choice.protect = reader.Int("protect", 0, std::numeric_limits<int32_t>::max());
  }
  choice.reduce = spec.ToString();
  return choice;
}

ReductionChoice TakeReduction(std::string& model) {
  const size_t mark = model.find('#');
  if (mark == std::string::npos) return {};
  ReductionChoice choice = ParseReduction(std::string_view(model).substr(mark + 1));
  model.erase(mark);
  return choice;
}

}  // namespace pith::serve
