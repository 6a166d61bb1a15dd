#include "cli/bench_report.h"

#include <algorithm>
#include <fstream>
#include <functional>
#include <set>
#include <vector>

#include "cli/text.h"
#include "core/error.h"
#include "core/processors.h"
#include "pith/version.h"

namespace pith::cli {
namespace {

constexpr double kMiB = 1 << 20;

template <class T>
OrderedJson OrNull(const std::optional<T>& value) {
  return value ? OrderedJson(*value) : OrderedJson(nullptr);
}

std::string OrDash(const std::optional<double>& value, int digits) {
  return value ? Fixed(*value, digits) : "-";
}

std::string Share(const std::optional<double>& share) { return share ? Percent(*share) : "-"; }

// What the system calls the machine's processor.
std::string Processor() {
  std::ifstream info("/proc/cpuinfo");
  std::string line;
  while (std::getline(info, line)) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != line.npos) return line.substr(colon + 2);
  }
  return "unknown processor";
}

// The first row that another one is compared with: of the same prompt and batch.
const BenchRow& Beside(const BenchReport& report, const BenchRow& row) {
  return *std::ranges::find_if(report.rows, [&](const BenchRow& other) {
    return other.prompt == row.prompt && other.batch == row.batch;
  });
}

// How many times as fast as that row prefill ran: the median over the repeats, each beside its own.
double Speedup(const BenchReport& report, const BenchRow& row) {
  const BenchRow& first = Beside(report, row);
  std::vector<double> ratios;
  const size_t repeats = std::min(first.prefill_ms.size(), row.prefill_ms.size());
  for (size_t r = 0; r < repeats; ++r) ratios.push_back(first.prefill_ms[r] / row.prefill_ms[r]);
  std::ranges::sort(ratios);
  return (ratios[(repeats - 1) / 2] + ratios[repeats / 2]) / 2;
}

std::optional<double> ProductShare(const BenchReport& report, const BenchRow& row) {
  if (!report.rates) return std::nullopt;
  return row.ProductShare(*report.rates);
}

std::optional<double> CopyShare(const BenchReport& report, const BenchRow& row) {
  if (!report.rates) return std::nullopt;
  return row.CopyShare(*report.rates);
}

OrderedJson RowJson(const BenchReport& report, const BenchRow& row) {
  return {{"reduce", row.reduce},
          {"applied", row.applied},
          {"prompt", row.prompt},
          {"batch", row.batch},
          {"decode", row.decode},
          {"score", row.score},
          {"realised", row.realised},
          {"rows_left", row.rows_left},
          {"prefill_tokens_per_second", row.PrefillTokensPerSecond()},
          {"decode_tokens_per_second", OrNull(row.DecodeTokensPerSecond())},
          {"speedup", Speedup(report, row)},
          {"prefill_ms", row.PrefillMs()},
          {"decode_ms", OrNull(row.DecodeMs())},
          {"generate_ms", OrNull(row.GenerateMs())},
          {"prefill_ms_repeats", row.prefill_ms},
          {"decode_ms_repeats", row.decode_ms},
          {"prefill_product_gflop", row.prefill_gflop},
          {"step_gbytes", row.step_gbytes},
          {"product_share", OrNull(ProductShare(report, row))},
          {"copy_share", OrNull(CopyShare(report, row))},
          {"peak_bytes", row.memory.peak},
          {"weights_peak_bytes", row.memory.weights},
          {"states_peak_bytes", row.memory.states},
          {"scratch_peak_bytes", row.memory.scratch},
          {"stream_peak_bytes", row.memory.stream}};
}

ReportTable RowTable(const BenchReport& report) {
  ReportTable table{.columns = {"reduction", "prompt", "batch", "realised", "prefill tok/s", "×",
                                "of products", "decode tok/s", "of copies", "generate ms",
                                "peak MiB"}};
  for (const BenchRow& row : report.rows) {
    table.rows.push_back({row.reduce, Grouped(row.prompt), Grouped(row.batch),
                          Percent(row.realised), Fixed(row.PrefillTokensPerSecond(), 1),
                          Fixed(Speedup(report, row), 2), Share(ProductShare(report, row)),
                          OrDash(row.DecodeTokensPerSecond(), 1), Share(CopyShare(report, row)),
                          OrDash(row.GenerateMs(), 0),
                          Grouped(static_cast<int64_t>(row.memory.peak / kMiB))});
  }
  return table;
}

std::string RooflineText(const BenchReport& report) {
  if (!report.rates) return "not measured";
  const DeviceRates& rates = *report.rates;
  double prefill = 0;
  double decode = 0;
  for (const BenchRow& row : report.rows) {
    prefill = std::max(prefill, row.ProductShare(rates));
    decode = std::max(decode, row.CopyShare(rates).value_or(0));
  }
  std::string text = StrCat("products ", Fixed(rates.gflop_per_second, 1), " GFLOP/s, copies ",
                            Fixed(rates.gb_per_second, 1), " GB/s");
  if (prefill > 0) text += StrCat("; prefill reaches ", Percent(prefill), " of the first");
  if (decode > 0) text += StrCat(", decode ", Percent(decode), " of the second");
  return text;
}

// What varies over the rows, for the axis and the names of series.
struct Varies {
  explicit Varies(const std::vector<BenchRow>& rows) {
    std::set<int64_t> prompts;
    std::set<int64_t> batches;
    for (const BenchRow& row : rows) {
      prompts.insert(row.prompt);
      batches.insert(row.batch);
    }
    prompt = prompts.size() > 1;
    batch = batches.size() > 1;
  }
  bool by_prompt() const { return prompt || !batch; }  // the axis
  std::string NameOf(const BenchRow& row) const {
    return prompt && batch ? StrCat(row.reduce, ", batch ", row.batch) : row.reduce;
  }

  bool prompt = false;
  bool batch = false;
};

ReportPlot PlotOf(const BenchReport& report, const std::string& title, const std::string& y_label,
                  const std::function<std::optional<double>(const BenchRow&)>& value) {
  const Varies varies(report.rows);
  ReportPlot plot{.title = title,
                  .x_label = varies.by_prompt() ? "tokens of a prompt" : "prompts in a batch",
                  .y_label = y_label};
  plot.log_x = varies.prompt || varies.batch;
  plot.y_floor = 0;
  for (const BenchRow& row : report.rows) {
    const std::optional<double> y = value(row);
    if (!y) continue;
    const std::string name = varies.NameOf(row);
    auto series = std::ranges::find(plot.series, name, &ReportSeries::name);
    if (series == plot.series.end()) series = plot.series.insert(series, {.name = name});
    const auto x = static_cast<double>(varies.by_prompt() ? row.prompt : row.batch);
    series->points.push_back({.x = x, .y = *y, .label = name});
  }
  for (ReportSeries& series : plot.series) {
    std::ranges::stable_sort(series.points, {}, &ReportPoint::x);
  }
  return plot;
}

constexpr const char* kNote =
    "Medians of the repeats, which took turns over all rows. ×: prefill beside the first row of "
    "the same prompt and batch. Of products: the prefill's matrix products beside the measured "
    "rate. Of copies: the bytes that a step must read and write beside the measured rate. Peak: "
    "what the backend held, weights included.";

}  // namespace

OrderedJson BenchJson(const BenchSubject& subject, const BenchReport& report) {
  const auto text = [](const std::string& value) {
    return value.empty() ? OrderedJson(nullptr) : OrderedJson(value);
  };
  OrderedJson rates = nullptr;
  if (report.rates) {
    rates = {{"gflop_per_second", report.rates->gflop_per_second},
             {"gb_per_second", report.rates->gb_per_second},
             {"product_size", report.rates->product_size},
             {"copy_bytes", report.rates->copy_bytes}};
  }
  OrderedJson rows = OrderedJson::array();
  for (const BenchRow& row : report.rows) rows.push_back(RowJson(report, row));
  return {{"format", "pith bench 1"},
          {"command", subject.command},
          {"build", BuildDescription()},
          {"processor", Processor()},
          {"processors", UsableProcessors()},
          {"device", subject.engine.device},
          {"dtype", subject.engine.dtype},
          {"state_dtype", subject.engine.state_dtype},
          {"threads", report.threads},
          {"model", text(subject.model)},
          {"shape", text(subject.shape)},
          {"weights", text(subject.weights)},
          {"description", subject.info.description},
          {"parameters", subject.info.parameters},
          {"repeats", subject.options.repeats},
          {"seed", subject.options.seed},
          {"complete", report.complete},
          {"rates", rates},
          {"rows", rows}};
}

std::string BenchText(const BenchSubject& subject, const BenchReport& report) {
  Fields fields;
  fields.Add("model", subject.shape.empty()
                          ? subject.model
                          : StrCat(subject.shape, " (random weights, ", subject.weights, ")"));
  fields.Add(
      "", StrCat(subject.info.description, ", ", Grouped(subject.info.parameters), " parameters"));
  fields.Add("device", StrCat(subject.engine.device, ", ", subject.engine.dtype,
                              subject.engine.state_dtype == "f32"
                                  ? ""
                                  : StrCat(", states ", subject.engine.state_dtype),
                              ", ", report.threads, report.threads == 1 ? " thread" : " threads",
                              "; ", Processor()));
  fields.Add("measured", RooflineText(report));
  if (report.rows.empty()) return fields.ToString();
  return StrCat(fields.ToString(), "\n", TextOf(RowTable(report)));
}

Report BenchPage(const BenchSubject& subject, const BenchReport& report) {
  Report page{.title = "pith bench: " + subject.name(),
              .summary = StrCat(
                  subject.info.description, ", ", Grouped(subject.info.parameters), " parameters",
                  subject.shape.empty() ? "" : ", random weights (" + subject.weights + ")", ". ",
                  Processor(), ", ", report.threads, " threads. Measured: ", RooflineText(report),
                  ".", report.complete ? "" : " Cancelled: not every row is here.")};
  ReportTable table = RowTable(report);
  table.note = kNote;
  ReportSection section{"Speed and memory", {}};
  section.blocks.emplace_back(std::move(table));
  section.blocks.emplace_back(PlotOf(report, "Prefill", "tokens a second", [](const BenchRow& row) {
    return std::optional(row.PrefillTokensPerSecond());
  }));
  if (std::ranges::any_of(report.rows, [](const BenchRow& row) { return row.decode > 0; })) {
    section.blocks.emplace_back(
        PlotOf(report, "Decode", "tokens a second, all texts",
               [](const BenchRow& row) { return row.DecodeTokensPerSecond(); }));
  }
  section.blocks.emplace_back(PlotOf(report, "Peak memory", "MiB", [](const BenchRow& row) {
    return std::optional(static_cast<double>(row.memory.peak) / kMiB);
  }));
  page.sections.push_back(std::move(section));
  return page;
}

}  // namespace pith::cli
