#include "engine/bench_run.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "core/error.h"
#include "model/step.h"
#include "ops/draw_tokens.h"
#include "score/score.h"

namespace pith {
namespace {

using Clock = std::chrono::steady_clock;

double MsSince(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

}  // namespace

std::vector<DeviceMat<float>*> BenchScratch::Buffers() {
  Workspace& ws = workspace;
  std::vector<DeviceMat<float>*> all = {&ws.x,      &ws.h,          &ws.normed, &ws.out,
                                        &ws.gather, &ws.far_normed, &ws.squares};
  for (DeviceMat<float>& m : ws.mixer) all.push_back(&m);
  all.push_back(&logits);
  return all;
}

int64_t BenchScratch::bytes() {
  int64_t sum = 0;
  for (const DeviceMat<float>* m : Buffers()) sum += m->bytes();
  return sum;
}

void BenchScratch::TakeLarger(BenchScratch& other) {
  const std::vector<DeviceMat<float>*> own = Buffers();
  const std::vector<DeviceMat<float>*> others = other.Buffers();
  for (size_t i = 0; i < own.size(); ++i) {
    if (others[i]->bytes() > own[i]->bytes()) std::swap(*own[i], *others[i]);
  }
}

BenchRun::BenchRun(const Model& model, const Exec& exec,
                   std::span<const std::vector<int32_t>> prompts, const BenchCase& what,
                   StatePool& pool, BenchScratch& scratch)
    : model_(model),
      exec_(exec),
      what_(what),
      pool_(pool),
      scratch_(scratch),
      sequences_(what.batch) {
  for (int64_t i = 0; i < what.batch; ++i) {
    sequences_[i].slot = pool.Take();
    inputs_.push_back({std::span(prompts[i]).first(what.prompt), &sequences_[i], WantRows::kLast});
  }
  scratch.logits.Resize(exec, what.batch, model.config().vocab_size);
}

BenchRun::~BenchRun() {
  for (const Sequence& sequence : sequences_) pool_.Free(sequence.slot);
}

double BenchRun::Prefill(const PrefillOptions& options) {
  exec_.backend->Synchronize(exec_.queue);
  const auto start = Clock::now();
  result_ =
      pith::Prefill(model_, exec_, pool_, inputs_, options, scratch_.workspace,
                    [&](std::span<const OutputRow> rows, MatView<const float> normed) {
                      const auto count = static_cast<int64_t>(rows.size());
                      const int64_t first = rows.front().sequence;
                      PITH_CHECK(rows.back().sequence == first + count - 1);  // one row a sequence
                      model_.StepLogits(exec_, normed, scratch_.logits.Rows(first, count));
                    });
  exec_.backend->Synchronize(exec_.queue);
  return MsSince(start);
}

double BenchRun::Decode(const std::atomic<bool>* cancel) {
  std::vector<Sequence*> sequences;
  for (Sequence& sequence : sequences_) sequences.push_back(&sequence);
  const auto start = Clock::now();
  for (int64_t step = 0; step < what_.decode; ++step) {
    Require(cancel == nullptr || !cancel->load(), ErrorCode::kCancelled, "cancelled");
    ChooseTokens();
    Step(model_, exec_, pool_, ids_, sequences, scratch_.workspace, scratch_.rows,
         scratch_.logits.view());
  }
  exec_.backend->Synchronize(exec_.queue);
  return MsSince(start);
}

void BenchRun::ChooseTokens() {
  ids_.resize(what_.batch);
  const std::vector<DrawRow> most_likely(ids_.size());
  DrawTokens(exec_, scratch_.logits.view(), most_likely, ids_);
}

double ScorePrompts(const Model& model, const Exec& exec,
                    std::span<const std::vector<int32_t>> prompts, const BenchCase& what,
                    const PrefillOptions& prefill, const RunControl& control,
                    std::vector<ScoreResult>& results) {
  std::vector<ScoreItem> items(what.batch);
  for (int64_t i = 0; i < what.batch; ++i) {
    const std::vector<int32_t>& prompt = prompts[i];
    items[i].continuation.assign(prompt.begin(), prompt.begin() + what.prompt);
    items[i].continuation.push_back(prompt[0]);  // the last one is a label and is not read
  }
  const ScoreOptions options{.mode = ScoringMode::kSurvivors, .control = control};
  exec.backend->Synchronize(exec.queue);
  const auto start = Clock::now();
  results = ScoreItems(model, exec, items, options, prefill);
  exec.backend->Synchronize(exec.queue);
  return MsSince(start);
}

}  // namespace pith
