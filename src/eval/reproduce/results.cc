#include "eval/reproduce/results.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace pith {
namespace {

const EvalRow& RowOf(std::span<const EvalRow> rows, std::string_view task,
                     std::string_view method) {
  const auto found = std::ranges::find_if(
      rows, [&](const EvalRow& row) { return row.task == task && row.method == method; });
  PITH_CHECK(found != rows.end());
  return *found;
}

const Estimate& EstimateOf(const EvalRow& row, std::string_view metric) {
  const auto found = std::ranges::find_if(
      row.figures, [&](const EvalFigure& figure) { return figure.metric.name == metric; });
  PITH_CHECK(found != row.figures.end());
  return found->estimate;
}

std::optional<double> PaperValue(const GridRow& row, std::string_view field) {
  if (!row.paper) return std::nullopt;
  const auto found = row.paper->values.find(field);
  return found == row.paper->values.end() ? std::nullopt : std::optional(found->second);
}

// The tasks' items differ.
ReproduceFigure Average(const GridRow& row, std::span<const ReproduceFigure> figures) {
  std::vector<Estimate> shares;
  for (size_t c = 0; c < figures.size(); ++c) {
    if (!PaperColumns()[c].percent) continue;
    shares.push_back({figures[c].value, figures[c].standard_error});
  }
  const Estimate mean = MeanOf(shares);
  return {.value = mean.value,
          .standard_error = mean.standard_error,
          .paper = PaperValue(row, kAverage)};
}

ReproduceRow MakeRow(const GridRow& row, std::span<const EvalRow> rows) {
  ReproduceRow out{.row = row};
  for (const PaperColumn& column : PaperColumns()) {
    const Estimate& estimate = EstimateOf(RowOf(rows, column.task, row.method), column.metric);
    const double unit = column.percent ? 100 : 1;
    out.figures.push_back({.value = unit * estimate.value,
                           .standard_error = unit * estimate.standard_error,
                           .paper = PaperValue(row, column.field)});
  }
  out.figures.push_back(Average(row, out.figures));
  const std::vector<std::string> tasks = PaperTasks();
  for (const std::string& task : tasks) out.realised += RowOf(rows, task, row.method).realised;
  out.realised /= static_cast<double>(tasks.size());
  return out;
}

OrderedJson FigureJson(const ReproduceFigure& figure) {
  OrderedJson json = {
      {"value", figure.value}, {"standard_error", figure.standard_error}, {"paper", nullptr}};
  if (figure.paper) json["paper"] = *figure.paper;
  return json;
}

OrderedJson RowJson(const ReproduceRow& row) {
  OrderedJson figures = OrderedJson::object();
  for (size_t c = 0; c + 1 < row.figures.size(); ++c) {
    figures[std::string(PaperColumns()[c].field)] = FigureJson(row.figures[c]);
  }
  figures[std::string(kAverage)] = FigureJson(row.average());
  return {{"name", row.row.name},
          {"method", row.row.method},
          {"wanted", row.row.wanted},
          {"realised", row.realised},
          {"figures", figures}};
}

OrderedJson TableJson(const ReproduceTable& table) {
  OrderedJson rows = OrderedJson::array();
  for (const ReproduceRow& row : table.rows) rows.push_back(RowJson(row));
  return {{"table", table.table},
          {"model", table.model},
          {"paper_model", table.paper_model},
          {"scoring", ScoringModeName(table.mode)},
          {"rows", rows}};
}

OrderedJson EstimateJson(const Estimate& estimate, double realised) {
  return {{"value", estimate.value},
          {"standard_error", estimate.standard_error},
          {"n", estimate.n},
          {"realised", realised}};
}

OrderedJson LongJson(const ReproduceLong& result) {
  OrderedJson rows = OrderedJson::array();
  for (const ReproduceLongRow& row : result.rows) {
    rows.push_back({{"name", row.row.name},
                    {"method", row.row.method},
                    {"wanted", row.row.wanted},
                    {"nll", EstimateJson(row.nll, row.realised_text)},
                    {"recall", EstimateJson(row.recall, row.realised_recall)}});
  }
  return {{"model", result.model}, {"rows", rows}};
}

// The rows of all grids, each reduction once.
std::vector<GridRow> DistinctRows(std::span<const Grid> grids) {
  std::vector<GridRow> rows;
  for (const Grid& grid : grids) {
    for (const GridRow& row : grid.rows) {
      if (std::ranges::find(rows, row.method, &GridRow::method) == rows.end()) rows.push_back(row);
    }
  }
  return rows;
}

}  // namespace

std::vector<std::string> PaperTasks() {
  std::vector<std::string> tasks;
  for (const PaperColumn& column : PaperColumns()) {
    if (column.percent) tasks.emplace_back(column.task);
  }
  return tasks;
}

std::vector<std::string> LongTasks() { return {"perplexity", "recall"}; }

std::vector<std::string> GridMethods(std::span<const Grid> grids) {
  std::vector<std::string> methods;
  for (const GridRow& row : DistinctRows(grids)) methods.push_back(row.method);
  return methods;
}

ReproduceTable MakeReproduceTable(const Grid& grid, const std::string& model,
                                  std::span<const EvalRow> rows) {
  ReproduceTable out{.table = grid.table,
                     .title = grid.title,
                     .model = model,
                     .paper_model = grid.paper_model,
                     .mode = grid.mode};
  for (const GridRow& row : grid.rows) out.rows.push_back(MakeRow(row, rows));
  for (const EvalRow& row : rows) out.items = std::max(out.items, row.items);
  return out;
}

ReproduceLong MakeReproduceLong(std::span<const Grid> grids, const std::string& model,
                                std::span<const EvalRow> rows) {
  ReproduceLong out{.model = model, .rows = {}};
  for (const GridRow& row : DistinctRows(grids)) {
    const EvalRow& text = RowOf(rows, "perplexity", row.method);
    const EvalRow& recall = RowOf(rows, "recall", row.method);
    out.rows.push_back({.row = row,
                        .realised_text = text.realised,
                        .realised_recall = recall.realised,
                        .nll = EstimateOf(text, "nll"),
                        .recall = EstimateOf(recall, "answers")});
  }
  return out;
}

OrderedJson ReproduceJson(const ReproduceResults& results) {
  OrderedJson tables = OrderedJson::array();
  for (const ReproduceTable& table : results.tables) tables.push_back(TableJson(table));
  OrderedJson longs = OrderedJson::array();
  for (const ReproduceLong& result : results.longs) longs.push_back(LongJson(result));
  OrderedJson missing = OrderedJson::array();
  for (const MissingModel& model : results.missing) missing.push_back(model.name);
  return {{"format", "pith reproduce 1"}, {"limit", results.limit}, {"bos", results.bos},
          {"missing", missing},           {"tables", tables},       {"long", longs}};
}

}  // namespace pith
