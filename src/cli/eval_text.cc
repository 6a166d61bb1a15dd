#include "cli/eval_text.h"

#include <algorithm>

#include "cli/text.h"
#include "core/error.h"

namespace pith::cli {
namespace {

bool IsKey(std::string_view part) {
  const size_t equals = part.find('=');
  return !part.starts_with('@') && equals != part.npos && part.find(':') > equals;
}

std::string PlusMinus(const Estimate& estimate, bool sign) {
  return StrCat(sign && estimate.value >= 0 ? "+" : "", Fixed(estimate.value, 4), " ± ",
                Fixed(estimate.standard_error, 4));
}

std::string TaskTable(std::span<const EvalRow> rows) {
  std::vector<Table::Column> columns = {{"reduction", Align::kLeft}, {"realised"}, {"n"}};
  for (const EvalFigure& figure : rows.front().figures) {
    columns.push_back({figure.metric.name + " ± s.e."});
    columns.push_back({"to dense ± s.e."});
  }
  columns.insert(columns.end(), {{"tok/s"}, {"peak MiB"}});
  Table table(columns);
  for (const EvalRow& row : rows) {
    const auto headline = std::ranges::find_if(
        row.figures, [](const EvalFigure& figure) { return figure.metric.headline; });
    PITH_CHECK(headline != row.figures.end());
    std::vector<std::string> cells = {row.method, Percent(row.realised),
                                      std::to_string(headline->estimate.n)};
    for (const EvalFigure& figure : row.figures) {
      cells.push_back(PlusMinus(figure.estimate, false));
      cells.push_back(figure.difference ? PlusMinus(*figure.difference, true) : "-");
    }
    cells.push_back(row.context_seconds > 0 ? Fixed(row.TokensPerSecond(), 0) : "-");
    cells.push_back(row.peak_memory ? std::to_string(*row.peak_memory >> 20) : "-");
    table.AddRow(std::move(cells));
  }
  return table.ToString();
}

}  // namespace

std::vector<std::string> SplitMethods(std::string_view text) {
  std::vector<std::string> methods;
  while (true) {
    const size_t comma = std::min(text.find(','), text.size());
    const std::string_view part = text.substr(0, comma);
    if (IsKey(part)) {
      Require(!methods.empty(), ErrorCode::kInvalidArgument, "--methods: got ", Quoted(part),
              " first, expected a reduction");
      methods.back() += StrCat(",", part);
    } else {
      Require(!part.empty(), ErrorCode::kInvalidArgument,
              "--methods: got an empty part, expected reductions with a comma between them");
      methods.emplace_back(part);
    }
    if (comma == text.size()) return methods;
    text.remove_prefix(comma + 1);
  }
}

std::string EvalTables(std::span<const EvalRow> rows) {
  std::string out;
  while (!rows.empty()) {
    const auto end = std::ranges::find_if(
        rows, [&](const EvalRow& row) { return row.task != rows.front().task; });
    const auto count = static_cast<size_t>(end - rows.begin());
    out += StrCat(out.empty() ? "" : "\n", rows.front().task, ", ", Grouped(rows.front().items),
                  " items\n", TaskTable(rows.first(count)));
    rows = rows.subspan(count);
  }
  return out;
}

}  // namespace pith::cli
