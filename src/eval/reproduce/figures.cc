#include "eval/reproduce/figures.h"

#include <algorithm>
#include <array>

#include "core/error.h"

namespace pith {
namespace {

constexpr std::array<int, 3> kPercent = {10, 20, 30};

double Median(std::vector<double> values) {
  PITH_CHECK(!values.empty());
  std::ranges::sort(values);
  return (values[(values.size() - 1) / 2] + values[values.size() / 2]) / 2;
}

// The dense row, then each method at each strength, without figures.
std::vector<FigureRow> StartRows(const FigureSettings& settings) {
  std::vector<FigureRow> rows = {{.reduce = "none", .method = "none"}};
  for (const std::string& method : settings.methods) {
    for (const int percent : kPercent) {
      rows.push_back({.reduce = StrCat(method, "@", percent, "%"),
                      .method = method,
                      .wanted = percent / 100.0});
    }
  }
  return rows;
}

std::vector<BenchRow> Measure(std::span<const Engine> engines, std::span<const BenchCase> cases,
                              const BenchOptions& options) {
  BenchReport report = Engine::MeasureTogether(engines, cases, options);
  Require(report.complete, ErrorCode::kCancelled, "cancelled");
  return std::move(report.rows);
}

// The part of a run's progress that lies in [begin, end].
RunControl PartOf(const RunControl& control, double begin, double end) {
  RunControl part{.cancel = control.cancel};
  if (control.progress) {
    part.progress = [=, &control](double share) {
      control.progress(begin + share * (end - begin));
    };
  }
  return part;
}

// Read twice: the first time finds the memory, the second the time.
int64_t MemoryTokens(const FigureSettings& settings) {
  return 2 * settings.memory_batch * settings.prompt;
}

int64_t GenerationTokens(const FigureSettings& settings) {
  return (settings.repeats + 1) * settings.batch * (settings.prompt + settings.decode);
}

}  // namespace

double FigureModel::Throughput(const FigureRow& row) const {
  const std::vector<double>& dense = rows.front().generate_ms;
  std::vector<double> ratios;
  for (size_t r = 0; r < std::min(dense.size(), row.generate_ms.size()); ++r) {
    ratios.push_back(dense[r] / row.generate_ms[r]);
  }
  return Median(std::move(ratios));
}

double FigureModel::Memory(const FigureRow& row) const {
  return static_cast<double>(row.score_peak_bytes) /
         static_cast<double>(rows.front().score_peak_bytes);
}

std::vector<std::string> FigureReductions(const FigureSettings& settings) {
  std::vector<std::string> out;
  for (FigureRow& row : StartRows(settings)) out.push_back(std::move(row.reduce));
  return out;
}

int64_t FigureTokens(const FigureSettings& settings) {
  return std::ssize(StartRows(settings)) * (MemoryTokens(settings) + GenerationTokens(settings));
}

FigureModel MeasureFigures(std::span<const Engine> engines, const std::string& name,
                           const FigureSettings& settings, const RunControl& control) {
  const Engine& engine = engines.front();
  FigureModel model{.name = name,
                    .description = engine.info().description,
                    .parameters = engine.info().parameters,
                    .rows = StartRows(settings)};
  std::vector<BenchCase> scoring;
  std::vector<BenchCase> generation;
  for (FigureRow& row : model.rows) {
    const Reduction reduction = engine.Compile(row.reduce);
    row.reduce = reduction.text();
    for (const SiteRows& site : engine.Plan(settings.prompt, reduction).sites) {
      row.sites.push_back(site.layer);
    }
    scoring.push_back({.reduction = reduction,
                       .prompt = settings.prompt,
                       .batch = settings.memory_batch,
                       .decode = 0,
                       .score = true});
    generation.push_back({.reduction = reduction,
                          .prompt = settings.prompt,
                          .batch = settings.batch,
                          .decode = settings.decode});
  }
  const auto memory = static_cast<double>(MemoryTokens(settings));
  const double middle = memory / (memory + static_cast<double>(GenerationTokens(settings)));
  const auto scored = Measure(
      engines, scoring, {.repeats = 1, .rates = false, .control = PartOf(control, 0, middle)});
  const auto written =
      Measure(engines, generation,
              {.repeats = settings.repeats, .rates = false, .control = PartOf(control, middle, 1)});
  for (size_t i = 0; i < model.rows.size(); ++i) {
    FigureRow& row = model.rows[i];
    row.realised = written[i].realised;
    for (size_t r = 0; r < written[i].prefill_ms.size(); ++r) {
      row.generate_ms.push_back(written[i].prefill_ms[r] + written[i].decode_ms[r]);
    }
    row.tokens_per_second =
        1e3 * static_cast<double>(settings.batch * settings.decode) / Median(row.generate_ms);
    row.generate_peak_bytes = written[i].memory.peak;
    row.score_peak_bytes = scored[i].memory.peak;
    row.score_ms = scored[i].PrefillMs();
  }
  return model;
}

}  // namespace pith
