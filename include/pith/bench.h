// Measuring: how fast a model reads and writes on this machine, what memory that takes, and how
// near it comes to what the device can do.
#ifndef PITH_BENCH_H_
#define PITH_BENCH_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "pith/options.h"
#include "pith/reduction.h"

namespace pith {

// Published models whose shapes Engine::FromShape knows.
std::vector<std::string> ListShapes();

// One point of a grid: `batch` prompts of `prompt` random tokens are read under the reduction, then
// each is continued by `decode` tokens.
struct BenchCase {
  Reduction reduction;
  int64_t prompt = 512;
  int64_t batch = 1;
  int64_t decode = 32;  // 0: nothing is written
  // The prompts are scored instead: every row that is left, against the token after its own
  // (scoring mode `survivors`). That time stands for prefill's, no state outlives its prompt, and
  // `decode` must be 0.
  bool score = false;
};

struct BenchOptions {
  int repeats = 3;    // that are timed; one more, the first, is not
  uint64_t seed = 0;  // of the prompts
  bool rates = true;  // measure the device too
  // Raised: Engine::Measure returns with what is done so far.
  RunControl control;
};

// What the device does where nothing else is in its way, measured by pith's own operators.
struct DeviceRates {
  double gflop_per_second = 0;  // matrix product, a multiply-add counting 2
  double gb_per_second = 0;     // copy: bytes read and bytes written, 1e9 of them
  int64_t product_size = 0;     // rows and columns of both factors
  int64_t copy_bytes = 0;       // of one copy
};

// What the backend held at most during the case's first, untimed repeat. Where a backend computes
// in the host's memory, weights that stay in a mapped file count as a whole. Not in it: token ids,
// plans and other small things on the host, and temporary memory within one CPU kernel.
struct BenchMemory {
  int64_t peak = 0;     // of all uses together
  int64_t weights = 0;  // peaks of each use, which need not have come at the same time
  int64_t states = 0;
  int64_t scratch = 0;
  int64_t stream = 0;
};

struct BenchRow {
  std::string reduce;   // canonical spelling
  std::string applied;  // what it was at this length: the same, but for `auto`
  int64_t prompt = 0;
  int64_t batch = 0;
  int64_t decode = 0;
  bool score = false;
  int64_t rows_left = 0;           // of batch · prompt, those that passed every layer
  double realised = 0;             // docs/reductions.md, "The count of work"
  std::vector<double> prefill_ms;  // one a repeat, in their order
  std::vector<double> decode_ms;   // all steps of a repeat; empty where decode is 0
  BenchMemory memory;
  double prefill_gflop = 0;  // the prefill's matrix products, less the realised share
  double step_gbytes = 0;    // a step's weights, read once, and states, read and written

  // Medians over the repeats. Empty: nothing was written.
  double PrefillMs() const;
  std::optional<double> DecodeMs() const;
  std::optional<double> GenerateMs() const;  // of the repeats' sums
  double PrefillTokensPerSecond() const;
  std::optional<double> DecodeTokensPerSecond() const;  // over all texts of the batch
  // Of what the device does: products per second in prefill, bytes per second in decode.
  double ProductShare(const DeviceRates& rates) const;
  std::optional<double> CopyShare(const DeviceRates& rates) const;
};

struct BenchReport {
  std::vector<BenchRow> rows;  // with at least one timed repeat, in the order of the cases
  std::optional<DeviceRates> rates;
  int threads = 0;
  bool complete = true;  // false: cancelled; rows may be missing or have fewer repeats
};

}  // namespace pith

#endif  // PITH_BENCH_H_
