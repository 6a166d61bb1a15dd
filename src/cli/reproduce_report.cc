#include "cli/reproduce_report.h"

#include <algorithm>
#include <set>

#include "cli/reproduce_text.h"
#include "cli/text.h"
#include "core/error.h"
#include "eval/data.h"
#include "eval/report/inspect_blocks.h"
#include "eval/text_windows.h"

namespace pith::cli {
namespace {

ReportTable CellsTable(const std::string& title, std::vector<std::vector<std::string>> cells,
                       const std::string& note) {
  ReportTable table{.title = title, .columns = std::move(cells.front()), .rows = {}, .note = note};
  cells.erase(cells.begin());
  table.rows = std::move(cells);
  return table;
}

class SeriesList {
 public:
  void Add(const std::string& name, ReportPoint point) {
    const auto found = std::ranges::find(series_, name, &ReportSeries::name);
    ReportSeries& series = found != series_.end() ? *found : series_.emplace_back(name);
    series.points.push_back(std::move(point));
  }

  // Several rows may stand beside one number of the paper.
  void AddOnce(const std::string& name, ReportPoint point) {
    const auto found = std::ranges::find(series_, name, &ReportSeries::name);
    if (found != series_.end() &&
        std::ranges::find(found->points, point.x, &ReportPoint::x) != found->points.end()) {
      return;
    }
    Add(name, std::move(point));
  }

  // The measured ones first.
  std::vector<ReportSeries> Take() {
    std::ranges::stable_sort(
        series_, {}, [](const ReportSeries& series) { return series.name.starts_with("paper: "); });
    for (ReportSeries& series : series_) std::ranges::sort(series.points, {}, &ReportPoint::x);
    return std::move(series_);
  }

 private:
  std::vector<ReportSeries> series_;
};

// Tables with one reduction alone have nothing to draw.
bool HasCurves(const ReproduceTable& table) {
  std::set<double> wanted;
  for (const ReproduceRow& row : table.rows) wanted.insert(row.row.wanted);
  return wanted.size() > 2;
}

ReportPlot AccuracyPlot(const ReproduceTable& table) {
  ReportPlot plot{.title = StrCat("Average of the six tasks, ", ReproduceTitle(table)),
                  .x_label = "work of the layers that was saved, %",
                  .y_label = "average, %"};
  SeriesList series;
  for (const ReproduceRow& row : table.rows) {
    const ReproduceFigure& average = row.average();
    if (row.row.wanted == 0) {
      plot.baseline = average.value;
      continue;
    }
    series.Add(row.row.name,
               {100 * row.realised, average.value, average.standard_error, row.row.method});
    if (average.paper) {
      series.AddOnce("paper: " + MethodTitle(row.row.paper->method),
                     {100 * row.row.paper->reduction, *average.paper, 0, table.paper_model});
    }
  }
  plot.series = series.Take();
  plot.note = StrCat(
      "Bars: one standard error of the value. The level line is the dense model. The paper's "
      "points "
      "stand at the reduction that it states, for ",
      table.paper_model,
      table.own_numbers() ? "." : ", another model: compare shapes, not levels.");
  return plot;
}

// `error` in the units of `value`.
ReportPlot LongPlot(const ReproduceLong& result, const std::string& what,
                    const std::string& y_label, double unit,
                    const Estimate ReproduceLongRow::*estimate,
                    double ReproduceLongRow::*realised) {
  ReportPlot plot{.title = StrCat(what, ", ", result.model),
                  .x_label = "realised: work of the layers that was saved, %",
                  .y_label = y_label};
  SeriesList series;
  for (const ReproduceLongRow& row : result.rows) {
    const Estimate& figure = row.*estimate;
    if (row.row.wanted == 0) {
      plot.baseline = unit * figure.value;
      continue;
    }
    series.Add(row.row.name, {100 * row.*realised, unit * figure.value,
                              unit * figure.standard_error, row.row.method});
  }
  plot.series = series.Take();
  plot.note =
      "Bars: one standard error of the value. The level line is the dense model. The paper did not "
      "measure this.";
  return plot;
}

ReportSection TableSection(const ReproduceTable& table) {
  ReportSection section{.heading = ReproduceTitle(table), .blocks = {}};
  section.blocks.emplace_back(CellsTable("", ReproduceCells(table), ReproduceNote(table)));
  if (HasCurves(table)) section.blocks.emplace_back(AccuracyPlot(table));
  return section;
}

ReportSection LongSection(const ReproduceLong& result) {
  ReportSection section{.heading = StrCat("Long texts, on ", result.model), .blocks = {}};
  section.blocks.emplace_back(CellsTable("", LongCells(result), "Scoring mode context."));
  section.blocks.emplace_back(LongPlot(result, "Nats a token of held-out text", "nats a token", 1,
                                       &ReproduceLongRow::nll, &ReproduceLongRow::realised_text));
  section.blocks.emplace_back(LongPlot(result, "Answers right about facts far back", "answers, %",
                                       100, &ReproduceLongRow::recall,
                                       &ReproduceLongRow::realised_recall));
  return section;
}

std::string Summary(const ReproduceResults& results) {
  std::string out =
      "Token reduction for state-space models: what the paper (EMNLP 2024, arXiv 2410.14725) ran, "
      "run again, each figure beside the paper's. Figures of different scoring modes do not "
      "compare; mode context is the sound one.";
  if (results.limit > 0) {
    out += StrCat(" Only the first ", results.limit, " items of each task were scored.");
  }
  if (results.bos) out += " The end-of-text token stands before every context, unlike the paper's.";
  for (const MissingModel& model : results.missing) out += StrCat(" Missing: ", model.name, ".");
  return out;
}

// The first tokens of the first documents.
std::vector<std::vector<int32_t>> MapContexts(const Engine& engine, const TaskOptions& options) {
  constexpr size_t kContexts = 4;
  constexpr size_t kTokens = 512;
  std::vector<std::vector<int32_t>> contexts;
  for (const std::string& document : ReadDocuments(TextPath(options))) {
    if (contexts.size() == kContexts) break;
    contexts.push_back(engine.Tokenize(document, true));
    contexts.back().resize(std::min(contexts.back().size(), kTokens));
  }
  return contexts;
}

}  // namespace

std::vector<ReportMap> KeptMaps(const Engine& engine, std::span<const Grid> grids,
                                const TaskOptions& options, const RunControl& control) {
  constexpr double kWanted = 0.3;
  const auto contexts = MapContexts(engine, options);
  std::vector<ReportMap> maps;
  std::set<std::string> seen;
  for (const Grid& grid : grids) {
    if (grid.table != "table1" && grid.table != "table2" && grid.table != "table6") continue;
    for (const GridRow& row : grid.rows) {
      if (row.wanted != kWanted || !seen.insert(row.method).second) continue;
      ReportMap map = KeptPositions(engine, contexts, engine.Compile(row.method), control);
      if (map.values.empty()) continue;
      map.title = StrCat(row.name, ": ", row.method);
      maps.push_back(std::move(map));
    }
  }
  return maps;
}

Report ReproduceReport(const ReproduceResults& results,
                       const std::map<std::string, std::vector<ReportMap>>& kept,
                       const std::string& footer) {
  Report report{.title = "The paper's tables", .summary = Summary(results), .footer = footer};
  for (const ReproduceTable& table : results.tables) {
    report.sections.push_back(TableSection(table));
  }
  for (const ReproduceLong& result : results.longs) report.sections.push_back(LongSection(result));
  for (const auto& [model, maps] : kept) {
    ReportSection section{.heading = StrCat("What survives, on ", model), .blocks = {}};
    section.blocks.insert(section.blocks.end(), maps.begin(), maps.end());
    report.sections.push_back(std::move(section));
  }
  return report;
}

}  // namespace pith::cli
