#include "eval/report/eval_sections.h"

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <optional>
#include <sstream>

#include "core/error.h"

namespace pith {
namespace {

constexpr const char* kRealisedLabel = "realised reduction of block FLOPs, %";
constexpr const char* kPairedNote =
    "Bars: standard error of the paired difference to dense, on the same items.";

std::string Fixed(double value, int digits, bool sign = false) {
  if (!std::isfinite(value)) return "–";
  std::ostringstream out;
  out << std::fixed << std::setprecision(digits) << (sign ? std::showpos : std::noshowpos) << value;
  std::string text = out.str();
  const bool zero = text.find_first_of("123456789") == text.npos;
  if (text[0] == '-') text.replace(0, 1, zero ? (sign ? "+" : "") : "−");
  return text;
}

std::string WithError(double value, double error, int digits, bool sign = false) {
  if (!std::isfinite(value)) return "–";
  return StrCat(Fixed(value, digits, sign), " ± ", Fixed(error, digits));
}

std::string PercentCell(double share) { return Fixed(100 * share, 1) + " %"; }

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

// A perplexity in the thousands needs no fourth digit after the point.
int DigitsFor(double value) { return std::abs(value) < 10 ? 4 : std::abs(value) < 1000 ? 2 : 1; }

ReportTable TaskTable(std::span<const EvalRow> rows) {
  ReportTable table{.columns = {"reduction", "realised", "n"}};
  for (const EvalFigure& figure : rows.front().figures) {
    table.columns.push_back(figure.metric.name + " ± s.e.");
    table.columns.emplace_back("to dense ± s.e.");
    table.note +=
        StrCat(table.note.empty() ? "" : "; ", figure.metric.name, ": ", figure.metric.meaning);
  }
  table.columns.emplace_back("tokens/s");
  table.note += ". n: items; differences are paired.";
  for (const EvalRow& row : rows) {
    const EvalFigure* headline = Headline(row);
    std::vector<std::string> cells = {
        row.method, PercentCell(row.realised),
        std::to_string(headline != nullptr ? headline->estimate.n : row.items)};
    for (const EvalFigure& figure : row.figures) {
      const int digits = DigitsFor(figure.estimate.value);
      cells.push_back(WithError(figure.estimate.value, figure.estimate.standard_error, digits));
      cells.push_back(
          figure.difference && row.method != "none"
              ? WithError(figure.difference->value, figure.difference->standard_error, digits, true)
              : "–");
    }
    cells.push_back(row.context_seconds > 0 ? Fixed(row.TokensPerSecond(), 0) : "–");
    table.rows.push_back(std::move(cells));
  }
  return table;
}

// Every metric of which more is better counts what was right.
std::optional<double> WholeOf(const Metric& metric) {
  return metric.higher_is_better ? std::optional<double>(1) : std::nullopt;
}

ReportSection TaskSection(std::span<const EvalRow> rows) {
  ReportSection section{rows.front().task, {TaskTable(rows)}};
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

// Tasks are independent samples: the variance of a mean of k is Σ s.e.² / k².
struct MeanAccuracy {
  MethodPoint point;
  double difference = 0;
  double own_error = 0;  // of the value; the point holds that of the difference
  size_t tasks = 0;
};

std::vector<MeanAccuracy> MeanAccuracies(std::span<const EvalRow> rows) {
  std::vector<MeanAccuracy> means;
  for (const EvalRow& row : rows) {
    const EvalFigure* figure = Headline(row);
    if (!IsAccuracy(figure)) continue;
    auto mean = std::ranges::find(
        means, row.method, [](const MeanAccuracy& m) -> const auto& { return m.point.method; });
    if (mean == means.end()) mean = means.insert(mean, {.point = {.method = row.method}});
    const MethodPoint point = PointOf(row, *figure);
    mean->point.realised += point.realised;
    mean->point.value += point.value;
    mean->point.error += point.error * point.error;
    mean->difference += figure->difference ? figure->difference->value : NAN;
    mean->own_error += figure->estimate.standard_error * figure->estimate.standard_error;
    ++mean->tasks;
  }
  for (MeanAccuracy& mean : means) {
    const auto k = static_cast<double>(mean.tasks);
    mean.point.realised /= k;
    mean.point.value /= k;
    mean.point.error = std::sqrt(mean.point.error) / k;
    mean.difference /= k;
    mean.own_error = std::sqrt(mean.own_error) / k;
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
    if (mean.tasks != tasks) continue;
    points.push_back(mean.point);
    table.rows.push_back({mean.point.method, PercentCell(mean.point.realised),
                          WithError(mean.point.value, mean.own_error, 4),
                          mean.point.method == "none"
                              ? "–"
                              : WithError(mean.difference, mean.point.error, 4, true)});
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

std::vector<ReportBlock> CompareBlocks(std::span<const CompareRow> rows) {
  PITH_CHECK(!rows.empty());
  ReportTable table{
      .columns = {"reduction", "realised", "rows left", "tail NLL", "to dense ± s.e.", "answers",
                  "to dense ± s.e.", "answer tokens", "tokens/s", "speed", "peak MiB"},
      .note =
          "tail NLL: nats per token of the tails; answers: share with every token right; "
          "differences are paired; speed: tokens/s over dense."};
  std::vector<MethodPoint> nll;
  std::vector<MethodPoint> answers;
  for (const CompareRow& row : rows) {
    const Paired nll_difference = PairedDifference(row.nll, rows[0].nll);
    const Paired answer_difference = PairedDifference(row.answers, rows[0].answers);
    table.rows.push_back(
        {row.reduce, PercentCell(row.realised), PercentCell(row.rows_left), Fixed(row.MeanNll(), 4),
         WithError(nll_difference.mean, nll_difference.standard_error, 4, true),
         PercentCell(row.AnswersRight()),
         WithError(100 * answer_difference.mean, 100 * answer_difference.standard_error, 1, true),
         PercentCell(row.AnswerTokensRight()), Fixed(row.tokens_per_second, 0),
         Fixed(row.tokens_per_second / rows[0].tokens_per_second, 2) + "×",
         row.peak_memory ? std::to_string(*row.peak_memory >> 20) : "–"});
    nll.push_back({row.reduce, row.realised, row.MeanNll(), nll_difference.standard_error});
    answers.push_back({row.reduce, row.realised, 100 * row.AnswersRight(),
                       100 * answer_difference.standard_error});
  }
  return {table, AgainstRealised("Recall of facts", "answers right, %", answers, 100),
          AgainstRealised("Language modelling", "tail NLL, nats per token", nll, std::nullopt)};
}

}  // namespace pith
