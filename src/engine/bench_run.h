// One repeat of a case of Engine::Measure, and the memory that it runs in.
#ifndef PITH_ENGINE_BENCH_RUN_H_
#define PITH_ENGINE_BENCH_RUN_H_

#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "model/model.h"
#include "model/prefill.h"
#include "model/state_pool.h"
#include "model/workspace.h"
#include "pith/bench.h"
#include "pith/results.h"

namespace pith {

// Scratch that repeats share, so that none but the first pays for new memory.
struct BenchScratch {
  Workspace workspace;
  DeviceMat<float> logits;  // [batch, vocab]
  LayerRows rows;

  int64_t bytes();
  // Keeps the larger one of each buffer; `other` gets the rest.
  void TakeLarger(BenchScratch& other);

 private:
  std::vector<DeviceMat<float>*> Buffers();
};

// Model, prompts, case and memory must outlive it; the pool must have as many slots as the batch.
class BenchRun {
 public:
  BenchRun(const Model& model, const Exec& exec, std::span<const std::vector<int32_t>> prompts,
           const BenchCase& what, StatePool& pool, BenchScratch& scratch);
  ~BenchRun();
  BenchRun(const BenchRun&) = delete;
  BenchRun& operator=(const BenchRun&) = delete;

  // Reads the prompts and computes the last logits of each. Returns milliseconds, from a device at
  // rest to a device at rest; both throw kCancelled.
  double Prefill(const PrefillOptions& options);
  // Takes the steps. Logits come to the host and the most likely tokens are read next, as greedy
  // generation does.
  double Decode(const std::atomic<bool>* cancel);

  const PrefillResult& result() const { return result_; }

 private:
  void ChooseTokens();

  const Model& model_;
  const Exec& exec_;
  const BenchCase& what_;
  StatePool& pool_;
  BenchScratch& scratch_;
  std::vector<Sequence> sequences_;
  std::vector<SequenceInput> inputs_;
  std::vector<int32_t> ids_;
  PrefillResult result_;
};

// A repeat of a case whose prompts are scored. Returns milliseconds, from a device at rest to a
// device at rest. Throws kCancelled.
double ScorePrompts(const Model& model, const Exec& exec,
                    std::span<const std::vector<int32_t>> prompts, const BenchCase& what,
                    const PrefillOptions& prefill, const RunControl& control,
                    std::vector<ScoreResult>& results);

}  // namespace pith

#endif  // PITH_ENGINE_BENCH_RUN_H_
