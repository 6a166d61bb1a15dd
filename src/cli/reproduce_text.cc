#include "cli/reproduce_text.h"

#include <cmath>
#include <cstdio>
#include <utility>

#include "cli/text.h"
#include "core/error.h"

namespace pith::cli {
namespace {

using Cells = std::vector<std::vector<std::string>>;

// Perplexities run from 4 to 1e5 and beyond in one column.
std::string Short(double value, bool percent) {
  if (!std::isfinite(value)) return "-";
  if (percent) return Fixed(value, 1);
  if (value < 1000) return Fixed(value, 2);
  if (value < 1e6) return Fixed(value, 0);
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.1e", value);
  return buffer;
}

std::string FigureCell(const ReproduceFigure& figure, bool percent) {
  std::string cell =
      StrCat(Short(figure.value, percent), " ± ", Short(figure.standard_error, percent));
  if (figure.paper) cell += " | " + Short(*figure.paper, percent);
  return cell;
}

std::string Text(Cells cells) {
  ReportTable table{.columns = std::move(cells.front())};
  table.rows.assign(cells.begin() + 1, cells.end());
  return TextOf(table);
}

std::string JoinNames(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : " ") + name;
  return out;
}

}  // namespace

// The average comes first: the table is wider than many screens.
Cells ReproduceCells(const ReproduceTable& table) {
  Cells cells = {{"method", "wanted", "realised", "average"}};
  for (const PaperColumn& column : PaperColumns()) cells[0].emplace_back(column.title);
  for (const ReproduceRow& row : table.rows) {
    std::vector<std::string> line = {row.row.name, Percent(row.row.wanted), Percent(row.realised),
                                     FigureCell(row.average(), true)};
    for (size_t c = 0; c < PaperColumns().size(); ++c) {
      line.push_back(FigureCell(row.figures[c], PaperColumns()[c].percent));
    }
    cells.push_back(std::move(line));
  }
  return cells;
}

Cells LongCells(const ReproduceLong& result) {
  Cells cells = {
      {"method", "wanted", "realised", "nats a token", "realised on recall", "answers right, %"}};
  for (const ReproduceLongRow& row : result.rows) {
    cells.push_back({row.row.name, Percent(row.row.wanted), Percent(row.realised_text),
                     PlusMinus(row.nll.value, row.nll.standard_error, 4),
                     Percent(row.realised_recall),
                     PlusMinus(100 * row.recall.value, 100 * row.recall.standard_error, 1)});
  }
  return cells;
}

std::string ReproduceTitle(const ReproduceTable& table) {
  return StrCat(table.title, ", on ", table.model, ", scoring mode ", ScoringModeName(table.mode));
}

std::string ReproduceNote(const ReproduceTable& table) {
  std::string note =
      StrCat("value ± standard error | the paper's number for ", table.paper_model,
             table.own_numbers() ? "" : StrCat(", which is another model than ", table.model),
             "; per cent but for ppl; ", Grouped(table.items), " items a task at the most. ");
  note += table.mode == ScoringMode::kContext
              ? "Sound scoring: the context alone is reduced, every label is scored."
              : "Labels are matched with rows from the end, as the published code does: no measure "
                "of a method.";
  return note;
}

std::string ReproduceText(const ReproduceResults& results) {
  std::string out;
  for (const ReproduceTable& table : results.tables) {
    out += StrCat(out.empty() ? "" : "\n", ReproduceTitle(table), "\n", Text(ReproduceCells(table)),
                  ReproduceNote(table), "\n");
  }
  for (const ReproduceLong& result : results.longs) {
    out += StrCat("\nLong texts, on ", result.model, ", scoring mode context\n",
                  Text(LongCells(result)));
  }
  return out;
}

std::string PlansText(const std::vector<ReproducePlan>& plans) {
  Table table({{"model", Align::kLeft},
               {"scoring", Align::kLeft},
               {"tables", Align::kLeft},
               {"reductions"},
               {"items each"},
               {"tokens, about"},
               {"", Align::kLeft}});
  double total = 0;
  for (const ReproducePlan& plan : plans) {
    table.AddRow({plan.model, std::string(ScoringModeName(plan.mode)), JoinNames(plan.tables),
                  Grouped(plan.reductions), Grouped(plan.items),
                  Grouped(static_cast<int64_t>(plan.tokens)), plan.missing ? "missing" : ""});
    if (!plan.missing) total += plan.tokens;
  }
  return StrCat(table.ToString(), "about ", Grouped(static_cast<int64_t>(total)),
                " tokens to read on the models that are there\n");
}

OrderedJson PlansJson(const std::vector<ReproducePlan>& plans) {
  OrderedJson out = OrderedJson::array();
  for (const ReproducePlan& plan : plans) {
    out.push_back({{"model", plan.model},
                   {"missing", plan.missing},
                   {"scoring", ScoringModeName(plan.mode)},
                   {"tables", plan.tables},
                   {"reductions", plan.reductions},
                   {"items", plan.items},
                   {"tokens", plan.tokens}});
  }
  return {{"plans", out}};
}

}  // namespace pith::cli
