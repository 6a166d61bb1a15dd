// Plans are made by ranks, not by sorts: a row goes because fewer than so many rows come before it
// in an order of keys that all differ. A block takes a sequence and finds, digit by digit, the key
// that as many keys lie below as are to be taken; what lies below it is then written in row order.
#include "ops/pair_plan.h"

#include <algorithm>
#include <vector>

#include "backends/cuda/kernels.h"
#include "backends/cuda/launch.cuh"
#include "backends/cuda/match.cuh"

namespace pith::cuda {
namespace {

constexpr int kThreads = 1024;
constexpr int kDigit = 8;  // bits of a key at a time
constexpr int kMergeThreads = 256;
constexpr int kMergeColumns = 4;  // of a thread

using Candidates = MatchArgs::Candidates;

// Grows with the value; NaN is as −∞, and −0 as 0.
__device__ uint32_t Order(float v) {
  if (isnan(v)) v = -INFINITY;
  const uint32_t bits = v == 0 ? 0 : __float_as_uint(v);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// How many threads of the block before this one have the flag, and how many have it at all.
struct Standing {
  int before, total;
};
template <int kSize>
__device__ Standing StandingInBlock(bool flag) {
  __shared__ int counts[kSize / 32];
  const unsigned votes = __ballot_sync(~0u, flag);
  const int warp = threadIdx.x / 32;
  if (threadIdx.x % 32 == 0) counts[warp] = __popc(votes);
  __syncthreads();
  Standing place{__popc(votes & ((1u << threadIdx.x % 32) - 1)), 0};
  for (int w = 0; w < kSize / 32; ++w) {
    if (w < warp) place.before += counts[w];
    place.total += counts[w];
  }
  __syncthreads();
  return place;
}

// Visits 0 … n − 1 in order, a thread each, and the rest of the block with them: take(i, place) of
// those for which choose(i) holds, `place` their number among these. Returns how many there are.
template <class Choose, class TakeOne>
__device__ int64_t ForChosen(int64_t n, const Choose& choose, const TakeOne& take) {
  int64_t taken = 0;
  for (int64_t first = 0; first < n; first += kThreads) {
    const int64_t i = first + threadIdx.x;
    const bool chosen = i < n && choose(i);
    const Standing place = StandingInBlock<kThreads>(chosen);
    if (chosen) take(i, taken + place.before);
    taken += place.total;
  }
  return taken;
}

// Of the digits that `counts` counts, the one whose keys hold the left'th; `left` becomes its
// number among them. For the first warp.
__device__ int FindDigit(const int* counts, int64_t& left) {
  constexpr int kEach = (1 << kDigit) / 32;
  const int lane = threadIdx.x;
  int64_t sum = 0;
  for (int i = 0; i < kEach; ++i) sum += counts[lane * kEach + i];
  int64_t up_to = sum;
  for (int offset = 1; offset < 32; offset *= 2) {
    const int64_t other = __shfl_up_sync(~0u, up_to, offset);
    if (lane >= offset) up_to += other;
  }
  int64_t rest = left - (up_to - sum);
  int digit = lane * kEach;
  if (rest >= 0 && rest < sum) {
    for (; rest >= counts[digit]; ++digit) rest -= counts[digit];
  }
  const int holder = __ffs(__ballot_sync(~0u, up_to > left)) - 1;
  left = __shfl_sync(~0u, rest, holder);
  return __shfl_sync(~0u, digit, holder);
}

// The least key that at least `count` of the n keys lie below. They differ, but for those of ~0.
template <class Key>
__device__ uint64_t KeyAbove(int64_t n, int64_t count, const Key& key) {
  __shared__ int counts[1 << kDigit];
  __shared__ int64_t left;
  __shared__ int digit;
  if (count <= 0) return 0;
  if (count >= n) return ~uint64_t{0};
  uint64_t found = 0, known = 0;
  if (threadIdx.x == 0) left = count;
  for (int shift = 64 - kDigit; shift >= 0; shift -= kDigit) {
    for (int i = threadIdx.x; i < 1 << kDigit; i += kThreads) counts[i] = 0;
    __syncthreads();
    for (int64_t i = threadIdx.x; i < n; i += kThreads) {
      const uint64_t k = key(i);
      if ((k & known) == found) atomicAdd(&counts[k >> shift & ((1 << kDigit) - 1)], 1);
    }
    __syncthreads();
    if (threadIdx.x < 32) {
      int64_t rest = left;
      const int of = FindDigit(counts, rest);
      __syncwarp();
      if (threadIdx.x == 0) {
        digit = of;
        left = rest;
      }
    }
    __syncthreads();
    found |= static_cast<uint64_t>(digit) << shift;
    known |= static_cast<uint64_t>((1 << kDigit) - 1) << shift;
  }
  return found;
}

__device__ Candidates CandidatesOf(int64_t source, const int32_t* targets, int64_t count,
                                   const MatchRange& range) {
  const auto first_from = [&](int64_t row) {
    int64_t low = 0;
    for (int64_t high = count; low < high;) {
      const int64_t middle = (low + high) / 2;
      if (targets[middle] < row) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  };
  Candidates c{0, count};
  if (range.window > 0) {
    c = {first_from(source - range.window), first_from(source + range.window + 1)};
  }
  if (range.forward_only) c.begin = first_from(source);
  return c;
}

struct Planning {
  const PairTask* tasks;
  const float* importance;  // or null: 0
  MatchRange range;
  PruneOrder prune;
  int32_t* order;  // of PairLists
  Candidates* candidates;
  Match* best;
  uint8_t* gone;  // [rows of the batch]
  Plan::Removed* removed;
  int32_t* kept;

  __device__ uint32_t Rank(int64_t row) const {
    return Order(importance == nullptr ? 0 : importance[row]);
  }
};

// Sources and targets of a sequence, a block each.
__global__ void __launch_bounds__(kThreads) SplitRows(Planning planning) {
  const PairTask& task = planning.tasks[blockIdx.x];
  const int64_t begin = task.sequence.begin, n = task.unprotected(), sources = task.sources();
  const auto key = [&](int64_t i) {
    return static_cast<uint64_t>(planning.Rank(begin + i)) << 32 | static_cast<uint64_t>(i);
  };
  const uint64_t middle = KeyAbove(n, sources, key);
  int32_t* const order = planning.order + begin;
  ForChosen(
      n, [&](int64_t i) { return key(i) < middle; },
      [&](int64_t i, int64_t at) { order[at] = static_cast<int32_t>(i); });
  ForChosen(
      n, [&](int64_t i) { return key(i) >= middle; },
      [&](int64_t i, int64_t at) { order[sources + at] = static_cast<int32_t>(i); });
  __syncthreads();
  for (int64_t i = threadIdx.x; i < sources; i += kThreads) {
    planning.candidates[begin + i] =
        CandidatesOf(order[i], order + sources, task.targets(), planning.range);
  }
}

// Which sources of a sequence go, and what becomes of them.
struct Chooser {
  const Planning& planning;
  const PairTask& task;
  const int32_t* sources;
  const Match* best;
  uint64_t stays;  // the least MatchKey of those that stay

  // The most similar come first.
  __device__ uint64_t MatchKey(int64_t i) const {
    return static_cast<uint64_t>(~Order(best[i].similarity)) << 32 | static_cast<uint64_t>(i);
  }
  __device__ bool Goes(int64_t i) const { return MatchKey(i) < stays; }
  // Those that are pruned first come first; ~0 for those that stay.
  __device__ uint64_t PruneKey(int64_t i) const {
    if (!Goes(i)) return ~uint64_t{0};
    uint32_t rank = Order(best[i].similarity);
    if (planning.prune == PruneOrder::kMostSimilar) rank = ~rank;
    if (planning.prune == PruneOrder::kLeastImportant) {
      rank = planning.Rank(task.sequence.begin + sources[i]);
    }
    return static_cast<uint64_t>(best[i].target >= 0) << 63 | static_cast<uint64_t>(rank) << 31 |
           static_cast<uint64_t>(i);
  }
};

__global__ void __launch_bounds__(kThreads) ChooseRows(Planning planning) {
  const PairTask& task = planning.tasks[blockIdx.x];
  const PairSequence& sequence = task.sequence;
  const int64_t n = task.sources();
  Chooser chooser{planning, task, planning.order + sequence.begin, planning.best + sequence.begin,
                  0};
  chooser.stays = KeyAbove(n, sequence.remove, [&](int64_t i) { return chooser.MatchKey(i); });
  const auto prune_key = [&](int64_t i) { return chooser.PruneKey(i); };
  const uint64_t hidden = KeyAbove(n, sequence.pruned_hidden, prune_key);
  const uint64_t residual = KeyAbove(n, sequence.pruned_residual, prune_key);
  uint8_t* const gone = planning.gone + sequence.begin;
  for (int64_t row = threadIdx.x; row < sequence.rows; row += kThreads) gone[row] = 0;
  __syncthreads();
  ForChosen(
      n, [&](int64_t i) { return chooser.Goes(i); },
      [&](int64_t i, int64_t at) {
        const uint64_t key = chooser.PruneKey(i);
        const Match match = chooser.best[i];
        Plan::Removed& out = planning.removed[task.removed_at + at];
        out.merge_hidden = match.target >= 0 && key >= hidden;
        out.merge_residual = match.target >= 0 && key >= residual;
        out.row = chooser.sources[i];
        out.target = out.merge_hidden || out.merge_residual ? match.target : -1;
        gone[out.row] = 1;
      });
  __syncthreads();
  ForChosen(
      sequence.rows, [&](int64_t row) { return gone[row] == 0; },
      [&](int64_t row, int64_t at) {
        planning.kept[task.kept_at + at] = static_cast<int32_t>(sequence.begin + row);
      });
}

// A block takes some columns of the target of one removed row: the first that merges into it. The
// rows that do are found in order, kMergeThreads at a time.
__global__ void __launch_bounds__(kMergeThreads)
    MergeRows(Rows<float> rows, int64_t cols, const PairTask* tasks, const Plan::Removed* removed,
              Branch branch) {
  __shared__ int32_t members[kMergeThreads];
  const PairTask& task = tasks[blockIdx.z];
  const int64_t n = task.sequence.remove, begin = task.sequence.begin;
  const Plan::Removed* const own = removed + task.removed_at;
  if (blockIdx.x >= n) return;
  const int32_t target = own[blockIdx.x].target;
  const auto merges = [&](int64_t i) {
    return i < n && own[i].target == target &&
           (branch == Branch::kHidden ? own[i].merge_hidden : own[i].merge_residual);
  };
  if (target < 0 || !merges(blockIdx.x)) return;
  const int64_t c = blockIdx.y * int64_t{kMergeThreads * kMergeColumns} + threadIdx.x;
  const auto there = [&](int q) { return c + q * kMergeThreads < cols; };
  float* const to = rows[begin + target] + c;
  double sums[kMergeColumns];
  for (int q = 0; q < kMergeColumns; ++q) sums[q] = there(q) ? to[q * kMergeThreads] : 0;
  int count = 1;
  for (int64_t first = 0; first < n; first += kMergeThreads) {
    const int64_t i = first + threadIdx.x;
    const bool member = merges(i);
    if (__syncthreads_or(member && i < blockIdx.x) != 0) return;
    const Standing place = StandingInBlock<kMergeThreads>(member);
    if (member) members[place.before] = own[i].row;
    __syncthreads();
    for (int m = 0; m < place.total; ++m) {
      const float* const from = rows[begin + members[m]] + c;
      for (int q = 0; q < kMergeColumns; ++q) {
        if (there(q)) sums[q] += from[q * kMergeThreads];
      }
    }
    count += place.total;
  }
  for (int q = 0; q < kMergeColumns; ++q) {
    if (there(q)) to[q * kMergeThreads] = static_cast<float>(sums[q] / count);
  }
}

std::vector<PairTask> TasksOf(std::span<const PairSequence> sequences) {
  std::vector<PairTask> tasks;
  int64_t removed = 0, kept = 0;
  for (const PairSequence& sequence : sequences) {
    tasks.push_back({sequence, removed, kept});
    removed += sequence.remove;
    kept += sequence.rows - sequence.remove;
  }
  return tasks;
}

void MatchEach(const Exec& exec, MatView<const float> features, std::span<const PairTask> tasks,
               const PairLists& lists) {
  for (const PairTask& task : tasks) {
    const int64_t begin = task.sequence.begin;
    if (task.sources() == 0) continue;
    MatchF32(exec, {.features = features.Rows(begin, task.sequence.rows),
                    .sources = lists.order + begin,
                    .source_count = task.sources(),
                    .targets = lists.order + begin + task.sources(),
                    .target_count = task.targets(),
                    .candidates = lists.candidates + begin,
                    .best = lists.best + begin});
  }
}

}  // namespace

void PlanPairs(const Exec& exec, const PairPlanArgs& args) {
  const int64_t rows = args.features.rows;
  const std::vector<PairTask> tasks = TasksOf(args.sequences);
  const Scratch<int32_t> order(exec, rows);
  const Scratch<Candidates> candidates(exec, rows);
  const Scratch<Match> best(exec, rows);
  const Scratch<uint8_t> gone(exec, rows);
  const Planning planning{.tasks = Place(exec, std::span<const PairTask>(tasks)),
                          .importance = args.importance.data,
                          .range = args.range,
                          .prune = args.prune,
                          .order = order.data(),
                          .candidates = candidates.data(),
                          .best = best.data(),
                          .gone = gone.data(),
                          .removed = args.removed.data,
                          .kept = args.kept.data};
  const auto blocks = static_cast<unsigned>(tasks.size());
  Launch(exec, SplitRows, blocks, kThreads, 0, planning);
  const bool rounds = exec.precision != Precision::kF32;
  (rounds ? MatchTensor : MatchEach)(exec, args.features, tasks,
                                     {.tasks = planning.tasks,
                                      .order = planning.order,
                                      .candidates = planning.candidates,
                                      .best = planning.best});
  Launch(exec, ChooseRows, blocks, kThreads, 0, planning);
}

void MergePairs(const Exec& exec, const MergePairsArgs& args) {
  const std::vector<PairTask> tasks = TasksOf(args.sequences);
  int64_t most = 0;
  for (const PairTask& task : tasks) most = std::max(most, task.sequence.remove);
  const dim3 grid(static_cast<unsigned>(most),
                  Blocks(args.rows.cols, int64_t{kMergeThreads * kMergeColumns}),
                  static_cast<unsigned>(tasks.size()));
  Launch(exec, MergeRows, grid, kMergeThreads, 0, Rows<float>(args.rows), args.rows.cols,
         Place(exec, std::span<const PairTask>(tasks)), args.removed.data, args.branch);
}

}  // namespace pith::cuda
