#include "cli/eval_text.h"

#include <algorithm>
#include <utility>

#include "cli/text.h"
#include "core/error.h"
#include "eval/report/eval_sections.h"

namespace pith::cli {
namespace {

bool IsKey(std::string_view part) {
  const size_t equals = part.find('=');
  return !part.starts_with('@') && equals != part.npos && part.find(':') > equals;
}

// "sites 5+7+9: utrc@10%, evit@20%", a line for each list of layers; they are the same for all
// tasks.
std::string SitesText(std::span<const EvalRow> rows) {
  std::vector<std::pair<std::vector<int>, std::string>> lines;
  for (const EvalRow& row : rows) {
    if (row.task != rows.front().task || row.sites.empty()) continue;
    auto line = std::ranges::find(lines, row.sites, [](const auto& entry) { return entry.first; });
    if (line == lines.end()) line = lines.insert(lines.end(), {row.sites, ""});
    line->second += (line->second.empty() ? "" : ", ") + row.method;
  }
  std::string out;
  for (const auto& [sites, methods] : lines) {
    const bool before = sites.front() < 0;
    out += StrCat(before ? "before layer 0" : "sites " + JoinSites(sites), ": ", methods, "\n");
  }
  return out.empty() ? "" : "\n" + out;
}

}  // namespace

std::vector<std::string> SplitMethods(std::string_view text, const std::string& option) {
  std::vector<std::string> methods;
  while (true) {
    const size_t comma = std::min(text.find(','), text.size());
    const std::string_view part = text.substr(0, comma);
    if (IsKey(part)) {
      Require(!methods.empty(), ErrorCode::kInvalidArgument, option, ": got ", Quoted(part),
              " first, expected a reduction");
      methods.back() += StrCat(",", part);
    } else {
      Require(!part.empty(), ErrorCode::kInvalidArgument, option,
              ": got an empty part, expected reductions with a comma between them");
      methods.emplace_back(part);
    }
    if (comma == text.size()) return methods;
    text.remove_prefix(comma + 1);
  }
}

std::string EvalTables(std::span<const EvalRow> rows) {
  const std::string sites = SitesText(rows);
  std::string out;
  while (!rows.empty()) {
    const auto end = std::ranges::find_if(
        rows, [&](const EvalRow& row) { return row.task != rows.front().task; });
    const auto count = static_cast<size_t>(end - rows.begin());
    out += StrCat(out.empty() ? "" : "\n", rows.front().task, ", ", Grouped(rows.front().items),
                  " items, scoring ", ScoringModeName(rows.front().scoring), "\n",
                  TextOf(EvalTable(rows.first(count))));
    rows = rows.subspan(count);
  }
  return out + sites;
}

}  // namespace pith::cli
