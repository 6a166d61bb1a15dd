// Engine::Measure: a grid of cases, timed in turn.
#include "pith/bench.h"

#include <algorithm>
#include <random>
#include <utility>
#include <variant>
#include <vector>

#include "core/error.h"
#include "engine/bench_run.h"
#include "engine/device_rates.h"
#include "engine/impl.h"
#include "load/published_shapes.h"
#include "model/layers/work.h"

namespace pith {
namespace {

// What a step costs beside reading a token, for the progress bar alone.
constexpr double kStepTokens = 16;
constexpr int64_t kMost = int64_t{1} << 24;  // of any number of a case: keeps products defined

double Median(std::vector<double> values) {
  PITH_CHECK(!values.empty());
  std::ranges::sort(values);
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

// Of all products of a dense prefill: in the last layer, rows that nobody reads only write state.
double PrefillGflop(const Model& model, double tokens, double batch) {
  const ModelConfig& config = model.config();
  double sum = batch * model.facts().head;
  for (int64_t l = 0; l < model.n_layer(); ++l) {
    const ProductFlops flops = std::visit(
        [&](const auto& layer) { return ProductsOf(layer, config.d_model); }, config.layers[l]);
    const bool last = l + 1 == model.n_layer();
    sum += last ? tokens * flops.state + batch * (flops.full - flops.state) : tokens * flops.full;
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
}

// The row as far as it is known before it runs.
BenchRow StartRow(const Model& model, const BenchCase& what, const Reduction& here) {
  const auto batch = static_cast<double>(what.batch);
  const auto states = static_cast<double>(model.state_layout().bytes());
  BenchRow row;
  row.reduce = what.reduction.text();
  row.applied = here.text();
  row.prompt = what.prompt;
  row.batch = what.batch;
  row.decode = what.decode;
  row.prefill_gflop = PrefillGflop(model, batch * static_cast<double>(what.prompt), batch);
  row.step_gbytes = 1e-9 * (static_cast<double>(model.step_weight_bytes()) + 2 * batch * states);
  return row;
}

// Peaks since the last reset, less `kept` bytes of scratch that were held before and belong to
// other cases.
BenchMemory MemoryOf(const Backend& backend, const Model& model, int64_t kept) {
  const int64_t in_place = model.weight_bytes().in_place;
  return {.peak = backend.memory().peak - kept + in_place,
          .weights = backend.memory(MemoryUse::kWeights).peak + in_place,
          .states = backend.memory(MemoryUse::kStates).peak,
          .scratch = backend.memory(MemoryUse::kScratch).peak - kept,
          .stream = backend.memory(MemoryUse::kStream).peak};
}

// The same prompts for all cases, which read as many and as much of each as they want.
std::vector<std::vector<int32_t>> DrawPrompts(std::span<const BenchCase> cases, int64_t vocab,
                                              uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<std::vector<int32_t>> prompts;
  int64_t length = 0;
  for (const BenchCase& what : cases) {
    prompts.resize(std::max<size_t>(prompts.size(), what.batch));
    length = std::max(length, what.prompt);
  }
  for (std::vector<int32_t>& prompt : prompts) {
    prompt.resize(length);
    for (int32_t& id : prompt) id = static_cast<int32_t>(random() % vocab);
  }
  return prompts;
}

class Grid {
 public:
  // `prefill`: one for each case, whatever watches the run apart.
  Grid(const Model& model, const Exec& exec, std::span<const BenchCase> cases,
       std::vector<PrefillOptions> prefill, const BenchOptions& options,
       std::vector<BenchRow>& rows)
      : model_(model),
        exec_(exec),
        cases_(cases),
        prefill_(std::move(prefill)),
        options_(options),
        rows_(rows),
        prompts_(DrawPrompts(cases, model.config().vocab_size, options.seed)) {
    for (const BenchCase& what : cases) work_ += CostOf(what) * (options.repeats + 1);
  }

  void Run() {
    for (size_t c = 0; c < cases_.size(); ++c) WarmUp(c);
    StatePool pool(model_, exec_, std::ssize(prompts_));
    for (int r = 0; r < options_.repeats; ++r) {
      for (size_t c = 0; c < cases_.size(); ++c) {
        const auto [prefill_ms, decode_ms] = Repeat(c, pool, scratch_);
        rows_[c].prefill_ms.push_back(prefill_ms);
        if (cases_[c].decode > 0) rows_[c].decode_ms.push_back(decode_ms);
      }
    }
  }

 private:
  static double CostOf(const BenchCase& what) {
    return static_cast<double>(what.batch * what.prompt) +
           kStepTokens * static_cast<double>(what.decode);
  }

  // In memory of its own, which is counted; then what is larger of it stays for the repeats.
  void WarmUp(size_t c) {
    const int64_t kept = scratch_.bytes();
    exec_.backend->ResetPeaks();
    BenchScratch own;
    StatePool pool(model_, exec_, cases_[c].batch);
    Repeat(c, pool, own);
    rows_[c].memory = MemoryOf(*exec_.backend, model_, kept);
    rows_[c].prefill_gflop *= 1 - rows_[c].realised;
    scratch_.TakeLarger(own);
  }

  // Milliseconds of prefill and of decode.
  std::pair<double, double> Repeat(size_t c, StatePool& pool, BenchScratch& scratch) {
    const BenchCase& what = cases_[c];
    const RunControl& control = options_.control;
    PrefillOptions prefill = prefill_[c];
    if (control.progress) {
      prefill.progress = [&](double share) {
        control.progress((done_ + share * static_cast<double>(what.batch * what.prompt)) / work_);
      };
    }
    BenchRun run(model_, exec_, prompts_, what, pool, scratch);
    const double prefill_ms = run.Prefill(prefill);
    const double decode_ms = what.decode > 0 ? run.Decode(control.cancel) : 0;
    done_ += CostOf(what);
    BenchRow& row = rows_[c];
    row.realised = run.result().realised;
    row.rows_left = 0;
    for (int64_t s = 0; s < what.batch; ++s) {
      row.rows_left += run.result().RowsLeft(static_cast<size_t>(s), what.prompt);
    }
    return {prefill_ms, decode_ms};
  }

  const Model& model_;
  const Exec& exec_;
  const std::span<const BenchCase> cases_;
  const std::vector<PrefillOptions> prefill_;
  const BenchOptions& options_;
  std::vector<BenchRow>& rows_;
  const std::vector<std::vector<int32_t>> prompts_;
  BenchScratch scratch_;
  double work_ = 0;
  double done_ = 0;
};

}  // namespace

BenchReport Engine::Measure(std::span<const BenchCase> cases, const BenchOptions& options) const {
  const Model& model = impl_->model;
  const Exec& exec = impl_->exec;
  Require(options.repeats >= 1, ErrorCode::kInvalidArgument, "repeats: got ", options.repeats,
          ", expected at least 1");
  BenchReport report;
  report.threads = exec.threads;
  std::vector<Reduction> reductions;  // as the cases' lengths want them
  std::vector<PrefillOptions> prefill;
  for (const BenchCase& what : cases) {
    CheckCase(what);
    reductions.push_back(what.reduction.For(what.prompt));
    report.rows.push_back(StartRow(model, what, reductions.back()));
  }
  const RunControl cancel{.cancel = options.control.cancel};
  for (const Reduction& here : reductions) prefill.push_back(impl_->Prefilling(cancel, here));
  try {
    if (options.rates) {
      report.rates = MeasureRates(exec, model.weight_dtype(), options.control.cancel);
    }
    Grid(model, exec, cases, std::move(prefill), options, report.rows).Run();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kCancelled) throw;
    report.complete = false;
  }
  std::erase_if(report.rows, [](const BenchRow& row) { return row.prefill_ms.empty(); });
  return report;
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
