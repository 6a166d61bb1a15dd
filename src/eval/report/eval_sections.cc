#include "eval/report/eval_sections.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "core/error.h"
#include "core/numbers.h"

namespace pith {
namespace {

constexpr const char* kRealisedLabel = "realised: work of the layers that was saved, %";
constexpr const char* kPairedNote =
    "Bars: standard error of the paired difference to dense, on the same items.";

// As a page sets it: a real minus.
std::string Typeset(std::string text) {
  if (text.starts_with('-') && text.size() > 1) text.replace(0, 1, "−");
  return text;
}

// One method's value for a plot.
struct MethodPoint {
  std::string method;
  double realised = 0;  // share
  double value = 0;
  double error = 0;
};

// One series per family in order of first appearance, each by rising reduction; dense is the
// baseline. `whole`: what a share of everything is; none for what is no share.
ReportPlot AgainstRealised(std::string title, std::string y_label,
                           std::span<const MethodPoint> points, std::optional<double> whole) {
  ReportPlot plot{
      .title = std::move(title), .x_label = kRealisedLabel, .y_label = std::move(y_label)};
  plot.x_start = 0;
  plot.y_ceiling = whole;
  if (whole) plot.y_floor = 0;
  for (const MethodPoint& point : points) {
    if (point.method == "none") {
      plot.baseline = point.value;
      continue;
    }
    const std::string family = MethodFamily(point.method);
    auto series = std::ranges::find(plot.series, family, &ReportSeries::name);
    if (series == plot.series.end()) series = plot.series.insert(series, {.name = family});
    series->points.push_back({100 * point.realised, point.value, point.error, point.method});
  }
  for (ReportSeries& series : plot.series) {
    std::ranges::stable_sort(series.points, {}, &ReportPoint::x);
  }
  plot.note = plot.baseline ? kPairedNote : "Bars: standard error.";
  return plot;
}

const EvalFigure* Headline(const EvalRow& row) {
  const auto found = std::ranges::find_if(
      row.figures, [](const EvalFigure& figure) { return figure.metric.headline; });
  return found == row.figures.end() ? nullptr : &*found;
}

MethodPoint PointOf(const EvalRow& row, const EvalFigure& figure) {
  const Estimate& spread = figure.difference ? *figure.difference : figure.estimate;
  return {row.method, row.realised, figure.estimate.value, spread.standard_error};
}

std::vector<std::string> TableCells(const EvalRow& row, bool whole) {
  const EvalFigure* const headline = Headline(row);
  std::vector<std::string> cells = {
      row.method, row.wanted ? Percent(*row.wanted) : "-", Percent(row.realised),
      Percent(row.realised_total),
      std::to_string(headline != nullptr ? headline->estimate.n : row.items)};
  if (!whole) {
    const bool paired = headline != nullptr && headline->difference;
    cells.push_back(std::to_string(row.left_out));
    cells.push_back(paired ? std::to_string(headline->difference->n) : "-");
    cells.push_back(Percent(row.Coverage()));
  }
  const auto add = [&](const Estimate& estimate, bool sign) {
    cells.push_back(PlusMinus(estimate.value, estimate.standard_error, 4, sign));
  };
  for (const EvalFigure& figure : row.figures) {
    add(figure.estimate, false);
    if (figure.difference) {
      add(*figure.difference, true);
    } else {
      cells.emplace_back("-");
    }
  }
  cells.push_back(row.context_seconds > 0 ? Fixed(row.TokensPerSecond(), 0) : "-");
  cells.push_back(row.peak_memory ? std::to_string(*row.peak_memory >> 20) : "-");
  return cells;
}

// Every metric of which more is better counts what was right.
std::optional<double> WholeOf(const Metric& metric) {
  return metric.higher_is_better ? std::optional<double>(1) : std::nullopt;
}

ReportSection TaskSection(std::span<const EvalRow> rows) {
  ReportSection section{rows.front().task, {EvalTable(rows)}};
  const EvalFigure* first = Headline(rows.front());
  if (first == nullptr) return section;
  std::vector<MethodPoint> points;
  for (const EvalRow& row : rows) {
    if (const EvalFigure* figure = Headline(row)) points.push_back(PointOf(row, *figure));
  }
  section.blocks.emplace_back(AgainstRealised(StrCat(rows.front().task, ": ", first->metric.name),
                                              first->metric.name, points, WholeOf(first->metric)));
  return section;
}

bool IsAccuracy(const EvalFigure* figure) {
  return figure != nullptr && figure->metric.name.starts_with("acc");
}

// One method over several tasks, which are independent samples.
struct MeanAccuracy {
  std::string method;
  double realised = 0;
  std::vector<Estimate> values;
  std::vector<Estimate> differences;

  // Its error is that of the difference to dense where there is a dense row.
  MethodPoint Point() const {
    const double error = MeanOf(differences.empty() ? values : differences).standard_error;
    return {method, realised / static_cast<double>(values.size()), MeanOf(values).value, error};
  }
};

std::vector<MeanAccuracy> MeanAccuracies(std::span<const EvalRow> rows) {
  std::vector<MeanAccuracy> means;
  for (const EvalRow& row : rows) {
    const EvalFigure* figure = Headline(row);
    if (!IsAccuracy(figure)) continue;
    auto mean = std::ranges::find(means, row.method, &MeanAccuracy::method);
    if (mean == means.end()) mean = means.insert(mean, {.method = row.method});
    mean->realised += row.realised;
    mean->values.push_back(figure->estimate);
    if (figure->difference) mean->differences.push_back(*figure->difference);
  }
  return means;
}

std::optional<ReportSection> MeanSection(std::span<const EvalRow> rows) {
  std::string names;
  const std::string* last = nullptr;
  size_t tasks = 0;
  for (const EvalRow& row : rows) {
    if (!IsAccuracy(Headline(row)) || (last != nullptr && *last == row.task)) continue;
    names += StrCat(last == nullptr ? "" : ", ", row.task, " (", Headline(row)->metric.name, ")");
    last = &row.task;
    ++tasks;
  }
  if (tasks < 2) return std::nullopt;
  ReportTable table{.columns = {"reduction", "realised", "accuracy ± s.e.", "to dense ± s.e."},
                    .note = StrCat("Unweighted mean over ", names, ".")};
  std::vector<MethodPoint> points;
  for (const MeanAccuracy& mean : MeanAccuracies(rows)) {
    if (mean.values.size() != tasks) continue;
    points.push_back(mean.Point());
    const Estimate value = MeanOf(mean.values);
    const Estimate difference = MeanOf(mean.differences);
    table.rows.push_back(
        {mean.method, Percent(points.back().realised),
         PlusMinus(value.value, value.standard_error, 4),
         mean.method == "none"
             ? "–"
             : Typeset(PlusMinus(difference.value, difference.standard_error, 4, true))});
  }
  return ReportSection{"Mean accuracy",
                       {table, AgainstRealised(StrCat("Mean accuracy over ", tasks, " tasks"),
                                               "accuracy", points, 1)}};
}

}  // namespace

std::string MethodFamily(std::string_view method) {
  const std::string_view name = method.substr(0, method.find_first_of(":@"));
  if (name == "skim") return "skim";
  // Options hold no @; the strength stands before or after them.
  const size_t at = method.find('@');
  if (at == method.npos) return std::string(method);
  const size_t end = std::min(method.find('%', at), method.size() - 1);
  return StrCat(method.substr(0, at), method.substr(end + 1));
}

ReportTable EvalTable(std::span<const EvalRow> rows) {
  const bool whole = rows.front().scoring == ScoringMode::kContext;
  ReportTable table{.columns = {"reduction", "wanted", "realised", "total", "n"}};
  if (!whole) table.columns.insert(table.columns.end(), {"left out", "pairs", "coverage"});
  for (const EvalFigure& figure : rows.front().figures) {
    table.columns.push_back(figure.metric.name + " ± s.e.");
    table.columns.emplace_back("to dense ± s.e.");
    table.note += StrCat(figure.metric.name, ": ", figure.metric.meaning, "; ");
  }
  table.columns.insert(table.columns.end(), {"tok/s", "peak MiB"});
  table.note += "realised: over the context; total: in all; n: items; differences are paired.";
  for (const EvalRow& row : rows) table.rows.push_back(TableCells(row, whole));
  return table;
}

std::vector<ReportSection> EvalSections(std::span<const EvalRow> rows) {
  std::vector<ReportSection> sections;
  if (auto mean = MeanSection(rows)) sections.push_back(std::move(*mean));
  while (!rows.empty()) {
    const auto end = std::ranges::find_if(
        rows, [&](const EvalRow& row) { return row.task != rows.front().task; });
    const auto count = static_cast<size_t>(end - rows.begin());
    sections.push_back(TaskSection(rows.first(count)));
    rows = rows.subspan(count);
  }
  return sections;
}

}  // namespace pith
