// Engine::Measure: a grid of cases, timed in turn.
#include "pith/bench.h"

#include <algorithm>
#include <exception>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "core/error.h"
#include "engine/bench_grid.h"
#include "engine/device_rates.h"
#include "engine/impl.h"
#include "load/published_shapes.h"
#include "model/layers/work.h"

namespace pith {
namespace {

constexpr int64_t kMost = int64_t{1} << 24;  // of any number of a case: keeps products defined

double Median(std::vector<double> values) {
  PITH_CHECK(!values.empty());
  std::ranges::sort(values);
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

// Of all products of a dense prefill that reads `wanted` rows' logits: in the last layer, rows that
// nobody reads only write state.
double PrefillGflop(const Model& model, double tokens, double wanted) {
  const ModelConfig& config = model.config();
  double sum = wanted * model.facts().head;
  for (int64_t l = 0; l < model.n_layer(); ++l) {
    const ProductFlops flops = std::visit(
        [&](const auto& layer) { return ProductsOf(layer, config.d_model); }, config.layers[l]);
    const bool last = l + 1 == model.n_layer();
    sum += last ? tokens * flops.state + wanted * (flops.full - flops.state) : tokens * flops.full;
  }
  return 1e-9 * sum;
}

void CheckCase(const BenchCase& what) {
  const auto check = [](const char* name, int64_t got, int64_t least) {
    Require(got >= least && got <= kMost, ErrorCode::kInvalidArgument, name, ": got ", got,
            ", expected ", least, " to ", kMost);
  };
  check("prompt", what.prompt, 1);
  check("batch", what.batch, 1);
  check("decode", what.decode, 0);
  Require(!what.score || what.decode == 0, ErrorCode::kInvalidArgument, "decode: got ", what.decode,
          ", expected 0 where prompts are scored");
}

// The row as far as it is known before it runs, with a part's `share` of the case's batch.
BenchRow StartRow(const Model& model, const BenchCase& what, int64_t share, const Reduction& here) {
  const auto batch = static_cast<double>(share);
  const double tokens = batch * static_cast<double>(what.prompt);
  // Fixed states are read and written; of those that grow, a step reads what the prompt left.
  const StateLayout& layout = model.state_layout();
  const double states =
      static_cast<double>(layout.bytes()) +
      0.5 * static_cast<double>(layout.bytes_per_token()) * static_cast<double>(what.prompt);
  BenchRow row;
  row.reduce = what.reduction.text();
  row.applied = here.text();
  row.prompt = what.prompt;
  row.batch = share;
  row.decode = what.decode;
  row.score = what.score;
  row.prefill_gflop = PrefillGflop(model, tokens, what.score ? tokens : batch);
  row.step_gbytes = 1e-9 * (static_cast<double>(model.step_weight_bytes()) + 2 * batch * states);
  return row;
}

// Of the same case on several devices, which ran at the same time; `parts` are as long as their
// shortest list of repeats.
BenchRow JoinRows(std::span<const BenchRow* const> parts, size_t repeats) {
  BenchRow row = *parts[0];
  row.prefill_ms.resize(repeats);
  row.decode_ms.resize(row.decode > 0 ? repeats : 0);
  double saved = row.realised * static_cast<double>(row.batch);
  for (const BenchRow* part : parts.subspan(1)) {
    row.batch += part->batch;
    row.rows_left += part->rows_left;
    saved += part->realised * static_cast<double>(part->batch);
    row.prefill_gflop += part->prefill_gflop;
    row.step_gbytes += part->step_gbytes;
    row.memory.peak += part->memory.peak;
    row.memory.weights += part->memory.weights;
    row.memory.states += part->memory.states;
    row.memory.scratch += part->memory.scratch;
    row.memory.stream += part->memory.stream;
    for (size_t r = 0; r < row.prefill_ms.size(); ++r) {
      row.prefill_ms[r] = std::max(row.prefill_ms[r], part->prefill_ms[r]);
    }
    for (size_t r = 0; r < row.decode_ms.size(); ++r) {
      row.decode_ms[r] = std::max(row.decode_ms[r], part->decode_ms[r]);
    }
  }
  if (parts.size() > 1) row.realised = saved / static_cast<double>(row.batch);
  return row;
}

BenchReport JoinReports(std::span<const BenchReport> parts) {
  BenchReport joined = parts[0];
  for (const BenchReport& part : parts.subspan(1)) {
    joined.complete = joined.complete && part.complete;
    if (!part.rates) joined.rates.reset();
    if (!joined.rates) continue;
    joined.rates->gflop_per_second += part.rates->gflop_per_second;
    joined.rates->gb_per_second += part.rates->gb_per_second;
  }
  for (size_t c = 0; c < joined.rows.size(); ++c) {
    std::vector<const BenchRow*> rows;
    size_t repeats = joined.rows[c].prefill_ms.size();
    for (const BenchReport& part : parts) {
      rows.push_back(&part.rows[c]);
      repeats = std::min(repeats, part.rows[c].prefill_ms.size());
    }
    joined.rows[c] = JoinRows(rows, repeats);
  }
  std::erase_if(joined.rows, [](const BenchRow& row) { return row.prefill_ms.empty(); });
  return joined;
}

}  // namespace

BenchReport Engine::Impl::Measure(std::span<const BenchCase> cases, const BenchOptions& options,
                                  const BenchPart& part) const {
  Require(options.repeats >= 1, ErrorCode::kInvalidArgument, "repeats: got ", options.repeats,
          ", expected at least 1");
  BenchReport report;
  report.threads = exec.threads;
  std::vector<Reduction> reductions;  // as the cases' lengths want them
  std::vector<PrefillOptions> prefill;
  for (const BenchCase& what : cases) {
    CheckCase(what);
    reductions.push_back(what.reduction.For(what.prompt));
    report.rows.push_back(StartRow(model, what, part.Batch(what.batch), reductions.back()));
  }
  const RunControl cancel{.cancel = options.control.cancel};
  for (const Reduction& here : reductions) prefill.push_back(Prefilling(cancel, here));
  try {
    if (options.rates) {
      report.rates = MeasureRates(exec, model.weight_dtype(), options.control.cancel);
    }
    BenchGrid(model, exec, cases, std::move(prefill), options, part, report.rows).Run();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kCancelled) throw;
    report.complete = false;
  }
  return report;
}

BenchReport Engine::Measure(std::span<const BenchCase> cases, const BenchOptions& options) const {
  const BenchReport report = impl_->Measure(cases, options, {});
  return JoinReports({&report, 1});
}

// The calling thread is the first engine's; progress is that engine's too.
BenchReport Engine::MeasureTogether(std::span<const Engine> engines,
                                    std::span<const BenchCase> cases, const BenchOptions& options) {
  Require(!engines.empty(), ErrorCode::kInvalidArgument, "engines: got none, expected one or more");
  BenchOptions silent = options;
  silent.control.progress = nullptr;
  const auto count = static_cast<int64_t>(engines.size());
  std::vector<BenchReport> reports(engines.size());
  std::vector<std::exception_ptr> errors(engines.size());
  BenchMeeting meeting(static_cast<int>(count));
  const auto run = [&](int64_t i) {
    try {
      reports[i] =
          engines[i].impl_->Measure(cases, i == 0 ? options : silent, {i, count, &meeting});
    } catch (...) {
      errors[i] = std::current_exception();
    }
    meeting.Leave();  // all have passed its last meeting, or none shall wait for it
  };
  {
    std::vector<std::jthread> threads;
    try {
      for (int64_t i = 1; i < count; ++i) threads.emplace_back(run, i);
    } catch (...) {  // no more threads: those that run are let go
      meeting.Leave();
      throw;
    }
    run(0);
  }
  for (const std::exception_ptr& error : errors) {
    if (error) std::rethrow_exception(error);
  }
  return JoinReports(reports);
}

std::vector<std::string> ListShapes() { return PublishedShapeNames(); }

double BenchRow::PrefillMs() const { return Median(prefill_ms); }

std::optional<double> BenchRow::DecodeMs() const {
  if (decode_ms.empty()) return std::nullopt;
  return Median(decode_ms);
}

std::optional<double> BenchRow::GenerateMs() const {
  if (decode_ms.empty()) return std::nullopt;
  std::vector<double> sums;
  for (size_t r = 0; r < decode_ms.size(); ++r) sums.push_back(prefill_ms[r] + decode_ms[r]);
  return Median(sums);
}

double BenchRow::PrefillTokensPerSecond() const {
  return 1e3 * static_cast<double>(batch * prompt) / PrefillMs();
}

std::optional<double> BenchRow::DecodeTokensPerSecond() const {
  if (decode_ms.empty()) return std::nullopt;
  return 1e3 * static_cast<double>(batch * decode) / *DecodeMs();
}

double BenchRow::ProductShare(const DeviceRates& rates) const {
  return 1e3 * prefill_gflop / PrefillMs() / rates.gflop_per_second;
}

std::optional<double> BenchRow::CopyShare(const DeviceRates& rates) const {
  if (decode_ms.empty()) return std::nullopt;
  return 1e3 * static_cast<double>(decode) * step_gbytes / *DecodeMs() / rates.gb_per_second;
}

}  // namespace pith
