// The grid of cases that Engine::Measure times, on one device; and how several devices keep step.
#ifndef PITH_ENGINE_BENCH_GRID_H_
#define PITH_ENGINE_BENCH_GRID_H_

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

#include "core/error.h"
#include "engine/bench_run.h"
#include "model/model.h"
#include "model/prefill.h"
#include "pith/bench.h"

namespace pith {

// Where the threads of several devices wait for each other.
class BenchMeeting {
 public:
  explicit BenchMeeting(int members) : members_(members) {}

  // Returns once all members have come. Throws kCancelled where one has left.
  void Arrive();
  // For good: nobody waits any more.
  void Leave();

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  const int members_;
  int waiting_ = 0;
  int64_t round_ = 0;
  bool left_ = false;
};

// One of `count` devices that divide each case's batch: those with lower numbers take the prompts
// that are left over.
struct BenchPart {
  int64_t index = 0;
  int64_t count = 1;
  BenchMeeting* meeting = nullptr;  // null: alone

  int64_t Batch(int64_t batch) const { return batch / count + (index < batch % count ? 1 : 0); }
  int64_t First(int64_t batch) const {
    return index * (batch / count) + std::min(index, batch % count);
  }
};

// All cases once untimed, which finds their memory; then the repeats, in turn over all cases.
class BenchGrid {
 public:
  // `cases` with whole batches, of which the part takes its own; it may be empty. `prefill`: one
  // for each case, whatever watches the run apart. `rows`: one for each case, of the part.
  BenchGrid(const Model& model, const Exec& exec, std::span<const BenchCase> cases,
            std::vector<PrefillOptions> prefill, const BenchOptions& options, const BenchPart& part,
            std::vector<BenchRow>& rows);

  // Throws kCancelled; rows then hold what was done.
  void Run();

 private:
  struct Times {
    double prefill_ms = 0;
    double decode_ms = 0;
  };

  void WarmUp(size_t c);
  Times Repeat(size_t c, StatePool& pool, BenchScratch& scratch);
  Times Generate(size_t c, StatePool& pool, BenchScratch& scratch);
  Times Score(size_t c);
  void Meet() const;
  // Of the case's own share, as a share of the whole run.
  RunControl Watch(size_t c) const;

  const Model& model_;
  const Exec& exec_;
  std::vector<BenchCase> cases_;  // of this part
  std::vector<int64_t> first_;    // of the prompts, the case's first one here
  const std::vector<PrefillOptions> prefill_;
  const BenchOptions& options_;
  const BenchPart part_;
  std::vector<BenchRow>& rows_;
  const std::vector<std::vector<int32_t>> prompts_;
  BenchScratch scratch_;
  double work_ = 0;
  double done_ = 0;
};

}  // namespace pith

#endif  // PITH_ENGINE_BENCH_GRID_H_
