// How reproduce shows the paper's figures, on the terminal and as a report.
#include <optional>

#include "cli/reproduce_figures.h"
#include "cli/text.h"
#include "core/error.h"

namespace pith::cli {
namespace {

constexpr double kMiB = 1 << 20;

std::string OrDash(const std::optional<double>& ratio) { return ratio ? Fixed(*ratio, 2) : "-"; }

std::string MiB(int64_t bytes) {
  return Grouped(static_cast<int64_t>(static_cast<double>(bytes) / kMiB));
}

// The paper measured UTRC alone.
std::optional<double> PaperThroughput(const PaperFigures& paper, const FigureModel& model,
                                      const FigureRow& row) {
  return row.method == "utrc" ? paper.Throughput(model.name, row.wanted) : std::nullopt;
}

std::optional<double> PaperMemory(const PaperFigures& paper, const FigureModel& model,
                                  const FigureRow& row) {
  return row.method == "utrc" ? paper.Memory(model.name, row.wanted) : std::nullopt;
}

ReportTable ModelTable(const FigureModel& model, const PaperFigures& paper) {
  ReportTable table{.columns = {"reduction", "realised", "tokens/s", "× dense", "paper", "peak MiB",
                                "× dense", "paper", "generation MiB"}};
  for (const FigureRow& row : model.rows) {
    table.rows.push_back({row.reduce, Percent(row.realised), Fixed(row.tokens_per_second, 1),
                          Fixed(model.Throughput(row), 2),
                          OrDash(PaperThroughput(paper, model, row)), MiB(row.score_peak_bytes),
                          Fixed(model.Memory(row), 2), OrDash(PaperMemory(paper, model, row)),
                          MiB(row.generate_peak_bytes)});
  }
  return table;
}

std::string Note(const FigureSettings& settings) {
  return StrCat("Tokens/s: written by ", Grouped(settings.batch), " texts of ",
                Grouped(settings.prompt), " tokens that are read and continued by ",
                Grouped(settings.decode), ", over the time of both; the median of ",
                settings.repeats, settings.repeats == 1 ? " repeat" : " repeats",
                ". Peak: what scoring every token of ", Grouped(settings.memory_batch),
                " texts of ", Grouped(settings.prompt),
                " tokens held at most, the weights included; generation MiB is the same of the "
                "texts that are "
                "continued. × dense: beside the dense model of the same run.");
}

constexpr double kPercent = 100;

// `ours` and `theirs`: a row beside the dense one.
template <class Ours, class Theirs>
ReportPlot RatioPlot(const FigureModel& model, const std::string& title, const std::string& y_label,
                     Ours ours, Theirs theirs) {
  ReportPlot plot{.title = StrCat(title, ", ", model.name),
                  .x_label = "work of the layers that was saved, %",
                  .y_label = y_label,
                  .baseline = 1};
  plot.x_start = 0;
  ReportSeries paper{.name = "paper: UTRC"};
  for (const FigureRow& row : model.rows) {
    if (row.wanted == 0) continue;
    if (plot.series.empty() || plot.series.back().name != row.method) {
      plot.series.push_back({.name = row.method});
    }
    plot.series.back().points.push_back(
        {.x = kPercent * row.realised, .y = ours(row), .label = row.reduce});
    if (const std::optional<double> ratio = theirs(row)) {
      paper.points.push_back({.x = kPercent * row.wanted, .y = *ratio});
    }
  }
  if (!paper.points.empty()) plot.series.push_back(std::move(paper));
  return plot;
}

ReportSection ModelSection(const FigureModel& model, const PaperFigures& paper) {
  ReportSection section{.heading = model.name, .blocks = {}};
  section.blocks.emplace_back(ModelTable(model, paper));
  section.blocks.emplace_back(RatioPlot(
      model, "Throughput of generation", "× dense, more is faster",
      [&](const FigureRow& row) { return model.Throughput(row); },
      [&](const FigureRow& row) { return PaperThroughput(paper, model, row); }));
  section.blocks.emplace_back(RatioPlot(
      model, "Peak memory of scoring", "× dense, less is smaller",
      [&](const FigureRow& row) { return model.Memory(row); },
      [&](const FigureRow& row) { return PaperMemory(paper, model, row); }));
  return section;
}

// Which of the paper's numbers stand on the page.
std::string Sources(const std::vector<FigureModel>& models, const PaperFigures& paper) {
  std::string without;
  for (const FigureModel& model : models) {
    if (paper.Throughput(model.name, 0.1) || paper.Memory(model.name, 0.1)) continue;
    without += StrCat(without.empty() ? "" : ", ", model.name);
  }
  std::string text =
      "The paper's ratios are numbers of its text, copied from data/paper/tables.json: throughput "
      "for 16 prompts of 2,048 tokens with 100 new ones each on an A100 with 80 GB, peak memory "
      "for "
      "96 texts of 2,048 tokens. It tells no seconds and no bytes, so that the ratios alone can be "
      "compared.";
  if (!without.empty()) text += StrCat(" It has none for ", without, ".");
  return text;
}

constexpr const char* kMemoryText =
    "About memory: the published script holds the logits of all positions of the batch, which "
    "shrink with the rows that are left. pith never holds them: texts are read a few at a time and "
    "logits are computed some rows at a time. The dense model's peak is low to begin with, and a "
    "reduction adds the rows of the batch that wait for their plan. Compare bytes there.";

}  // namespace

std::string FiguresText(const std::vector<FigureModel>& models, const FigureSettings& settings,
                        const PaperFigures& paper) {
  std::string out;
  for (const FigureModel& model : models) {
    out += StrCat(model.name, "\n", TextOf(ModelTable(model, paper)), "\n");
  }
  return StrCat(out, Note(settings), "\n");
}

Report FiguresReport(const std::vector<FigureModel>& models, const FigureSettings& settings,
                     const PaperFigures& paper, const std::string& footer) {
  Report report{.title = "The paper's figures",
                .summary = StrCat(
                    "Figures 3 to 6 of the paper (EMNLP 2024, arXiv 2410.14725): peak memory and "
                    "throughput of generation at 10, 20 and 30 % less work, measured here, beside "
                    "the paper's ratios.\n\n",
                    Sources(models, paper), "\n\n", Note(settings), "\n\n", kMemoryText),
                .footer = footer};
  for (const FigureModel& model : models) {
    report.sections.push_back(ModelSection(model, paper));
  }
  return report;
}

}  // namespace pith::cli
