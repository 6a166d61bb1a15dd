#include "engine/bench_grid.h"

#include <random>

#include "ops/backend.h"

namespace pith {
namespace {

// What a step costs beside reading a token, for the progress bar alone.
constexpr double kStepTokens = 16;

double CostOf(const BenchCase& what) {
  return static_cast<double>(what.batch * what.prompt) +
         kStepTokens * static_cast<double>(what.decode);
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

}  // namespace

void BenchMeeting::Arrive() {
  std::unique_lock lock(mutex_);
  const int64_t round = round_;
  if (!left_ && ++waiting_ == members_) {
    waiting_ = 0;
    ++round_;
    changed_.notify_all();
    return;
  }
  changed_.wait(lock, [&] { return round_ != round || left_; });
  Require(round_ != round, ErrorCode::kCancelled, "cancelled: another device stopped");
}

void BenchMeeting::Leave() {
  const std::lock_guard lock(mutex_);
  left_ = true;
  changed_.notify_all();
}

BenchGrid::BenchGrid(const Model& model, const Exec& exec, std::span<const BenchCase> cases,
                     std::vector<PrefillOptions> prefill, const BenchOptions& options,
                     const BenchPart& part, std::vector<BenchRow>& rows)
    : model_(model),
      exec_(exec),
      cases_(cases.begin(), cases.end()),
      prefill_(std::move(prefill)),
      options_(options),
      part_(part),
      rows_(rows),
      prompts_(DrawPrompts(cases, model.config().vocab_size, options.seed)) {
  for (BenchCase& what : cases_) {
    first_.push_back(part.First(what.batch));
    what.batch = part.Batch(what.batch);
    work_ += CostOf(what) * (options.repeats + 1);
  }
}

void BenchGrid::Run() {
  int64_t slots = 1;
  for (const BenchCase& what : cases_) slots = std::max(slots, what.score ? 0 : what.batch);
  for (size_t c = 0; c < cases_.size(); ++c) WarmUp(c);
  StatePool pool(model_, exec_, slots);
  for (int r = 0; r < options_.repeats; ++r) {
    for (size_t c = 0; c < cases_.size(); ++c) {
      const Times times = Repeat(c, pool, scratch_);
      rows_[c].prefill_ms.push_back(times.prefill_ms);
      if (cases_[c].decode > 0) rows_[c].decode_ms.push_back(times.decode_ms);
    }
  }
}

// In memory of its own, which is counted; then what is larger of it stays for the repeats.
void BenchGrid::WarmUp(size_t c) {
  const int64_t kept = scratch_.bytes();
  exec_.backend->ResetPeaks();
  BenchScratch own;
  StatePool pool(model_, exec_, cases_[c].score ? 0 : cases_[c].batch);
  Repeat(c, pool, own);
  rows_[c].memory = MemoryOf(*exec_.backend, model_, kept);
  rows_[c].prefill_gflop *= 1 - rows_[c].realised;
  scratch_.TakeLarger(own);
}

void BenchGrid::Meet() const {
  if (part_.meeting != nullptr) part_.meeting->Arrive();
}

RunControl BenchGrid::Watch(size_t c) const {
  RunControl watch{.cancel = options_.control.cancel};
  if (options_.control.progress) {
    const auto tokens = static_cast<double>(cases_[c].batch * cases_[c].prompt);
    watch.progress = [this, tokens](double share) {
      options_.control.progress((done_ + share * tokens) / work_);
    };
  }
  return watch;
}

// A part without a prompt of this case only keeps the others company.
BenchGrid::Times BenchGrid::Repeat(size_t c, StatePool& pool, BenchScratch& scratch) {
  const BenchCase& what = cases_[c];
  Meet();
  Times times;
  if (what.batch == 0) {
    if (what.decode > 0) Meet();
  } else {
    times = what.score ? Score(c) : Generate(c, pool, scratch);
  }
  done_ += CostOf(what);
  return times;
}

BenchGrid::Times BenchGrid::Generate(size_t c, StatePool& pool, BenchScratch& scratch) {
  const BenchCase& what = cases_[c];
  PrefillOptions prefill = prefill_[c];
  prefill.progress = Watch(c).progress;
  BenchRun run(model_, exec_, std::span(prompts_).subspan(first_[c]), what, pool, scratch);
  Times times{.prefill_ms = run.Prefill(prefill)};
  if (what.decode > 0) {
    Meet();
    times.decode_ms = run.Decode(options_.control.cancel);
  }
  rows_[c].realised = run.result().realised;
  rows_[c].rows_left = 0;
  for (int64_t s = 0; s < what.batch; ++s) {
    rows_[c].rows_left += run.result().RowsLeft(static_cast<size_t>(s), what.prompt);
  }
  return times;
}

BenchGrid::Times BenchGrid::Score(size_t c) {
  const BenchCase& what = cases_[c];
  std::vector<ScoreResult> results;
  const double ms = ScorePrompts(model_, exec_, std::span(prompts_).subspan(first_[c]), what,
                                 prefill_[c], Watch(c), results);
  double realised = 0;
  rows_[c].rows_left = 0;
  for (const ScoreResult& result : results) {
    realised += result.realised;
    rows_[c].rows_left += result.context_rows;
  }
  rows_[c].realised = realised / static_cast<double>(what.batch);
  return {.prefill_ms = ms};
}

}  // namespace pith
