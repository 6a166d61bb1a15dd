// DrawTokens: a block a row. As on the CPU, the token up to which weights reach a sum is found by
// its key, a digit at a time; sums of whole numbers in shared memory have no order. The first digit
// is not of the key but of the gap, which spreads a row's tokens where their keys' first bits would
// not: few threads then add to the same place.
#include <climits>
#include <cmath>
#include <vector>

#include "backends/cuda/kernels.h"
#include "backends/cuda/launch.cuh"
#include "backends/cuda/top.cuh"
#include "ops/draw_tokens.h"
#include "ops/token_weight.h"

namespace pith::cuda {
namespace {

constexpr int kThreads = 1024;
constexpr int kGaps = 2 * kThreads;  // places for the first digit
constexpr int kDigitBits = 8;
constexpr int kDigits = 1 << kDigitBits;

using Whole = unsigned long long;  // what atomicAdd takes

struct Amount {
  Whole tokens;
  Whole weight;
};

// One row's part of what a launch is given.
struct RowTask {
  DrawRule rule;
  float penalty;
  int64_t seen_begin, seen_end;
};

struct Shared {
  Amount gaps[kGaps];
  Amount digits[kDigits];
  Amount before;  // of all tokens that rank before the place found so far
  uint32_t place;
  Amount warps[kThreads / 32];
};

// The largest logit; index −1 where the row is broken.
__device__ Top Largest(const float* row, int vocab) {
  Top top = {-INFINITY, INT_MAX};
  int broken = 0;
#pragma unroll 8
  for (int j = threadIdx.x; j < vocab; j += kThreads) {
    top.Meet({row[j], j});
    broken |= isnan(row[j]);
  }
  broken = __syncthreads_or(broken);
  top = BlockTop<kThreads>(top);
  if (broken || isinf(top.value)) top.index = -1;
  return top;
}

// One row's tokens, and what all of its threads know.
struct Ranking {
  const float* row;
  int vocab;
  float largest;
  double temperature;
  float per_nat;  // places a unit of logits

  __device__ double Gap(float logit) const {
    return (static_cast<double>(logit) - largest) / temperature;
  }
  // Grows as the logit falls.
  __device__ int PlaceOf(float logit) const {
    const float place = (largest - logit) * per_nat;
    return place < kGaps - 1 ? static_cast<int>(place) : kGaps - 1;
  }
};

__device__ void Add(Amount& sum, Whole weight) {
  atomicAdd(&sum.tokens, 1ULL);
  atomicAdd(&sum.weight, weight);
}

__device__ Whole Of(const Amount& amount, bool tokens) {
  return tokens ? amount.tokens : amount.weight;
}

// Sums of all tokens by their gap; returns the weight of those that min_p leaves.
__device__ Whole CountGaps(const Ranking& ranking, double lowest_gap, Shared& shared) {
  for (int i = threadIdx.x; i < kGaps; i += kThreads) shared.gaps[i] = {0, 0};
  __syncthreads();
  Whole likely = 0;
  for (int j = threadIdx.x; j < ranking.vocab; j += kThreads) {
    const float logit = ranking.row[j];
    const double gap = ranking.Gap(logit);
    const Whole weight = TokenWeight(gap);
    if (gap >= lowest_gap) likely += weight;
    Add(shared.gaps[ranking.PlaceOf(logit)], weight);
  }
  return BlockSum<kThreads>(likely);  // ends with a barrier
}

// Of kCount amounts, kCount / kThreads a thread or one for each of the first threads: moves
// shared.before over all those before the one in which `wanted` is reached, and notes that.
template <int kCount>
__device__ void Walk(const Amount* amounts, bool tokens, Whole wanted, Shared& shared) {
  constexpr int kEach = kCount > kThreads ? kCount / kThreads : 1;
  const int first = threadIdx.x * kEach;
  Amount own = {0, 0};
  for (int i = first; i < first + kEach && i < kCount; ++i) {
    own.tokens += amounts[i].tokens;
    own.weight += amounts[i].weight;
  }
  Amount up_to = own;  // within the warp
  for (int offset = 1; offset < 32; offset *= 2) {
    const Whole t = __shfl_up_sync(~0u, up_to.tokens, offset);
    const Whole w = __shfl_up_sync(~0u, up_to.weight, offset);
    if (threadIdx.x % 32 >= offset) up_to = {up_to.tokens + t, up_to.weight + w};
  }
  if (threadIdx.x % 32 == 31) shared.warps[threadIdx.x / 32] = up_to;
  const Amount start = shared.before;
  __syncthreads();
  Amount before = {start.tokens + up_to.tokens - own.tokens,
                   start.weight + up_to.weight - own.weight};
  for (unsigned w = 0; w < threadIdx.x / 32; ++w) {
    before.tokens += shared.warps[w].tokens;
    before.weight += shared.warps[w].weight;
  }
  for (int i = first; i < first + kEach && i < kCount; ++i) {
    const Amount after = {before.tokens + amounts[i].tokens, before.weight + amounts[i].weight};
    if (Of(before, tokens) < wanted && Of(after, tokens) >= wanted) {
      shared.before = before;
      shared.place = i;
    }
    before = after;
  }
  __syncthreads();
}

struct Found {
  int id;
  Whole weight;  // of all tokens up to it
};

// Of the tokens with this key, in the order of their ids, the one that reaches `wanted`.
__device__ Found AmongEquals(const Ranking& ranking, uint32_t key, bool tokens, Whole wanted,
                             Shared& shared) {
  __shared__ int id;
  __shared__ Whole reached;
  for (int begin = 0; begin < ranking.vocab; begin += kThreads) {
    const int j = begin + threadIdx.x;
    const bool equal = j < ranking.vocab && RankKey(ranking.row[j]) == key;
    const Amount before = shared.before;
    bool found = false;
    const unsigned in_warp = __ballot_sync(~0u, equal);
    if (threadIdx.x % 32 == 0) shared.warps[threadIdx.x / 32].tokens = __popc(in_warp);
    __syncthreads();
    Whole rank = __popc(in_warp & ((2U << threadIdx.x % 32) - 1));
    Whole all = 0;
    for (int w = 0; w < kThreads / 32; ++w) {
      if (w < threadIdx.x / 32) rank += shared.warps[w].tokens;
      all += shared.warps[w].tokens;
    }
    if (equal) {
      const Whole weight = TokenWeight(ranking.Gap(ranking.row[j]));
      const Amount after = {before.tokens + rank, before.weight + rank * weight};
      const Amount last = {after.tokens - 1, after.weight - weight};
      if (Of(last, tokens) < wanted && Of(after, tokens) >= wanted) {
        id = j;
        reached = after.weight;
        found = true;
      }
      if (rank == all) shared.before = after;  // only one thread
    }
    if (__syncthreads_or(found)) break;
  }
  __syncthreads();
  return {id, reached};
}

// The first token up to which there are so many tokens, or so much weight.
__device__ Found Reaching(const Ranking& ranking, bool tokens, Whole wanted, Shared& shared) {
  if (threadIdx.x == 0) shared.before = {0, 0};
  __syncthreads();
  Walk<kGaps>(shared.gaps, tokens, wanted, shared);
  const int gap = shared.place;
  uint32_t key = 0;
  for (int shift = 32 - kDigitBits; shift >= 0; shift -= kDigitBits) {
    if (threadIdx.x < kDigits) shared.digits[threadIdx.x] = {0, 0};
    __syncthreads();
    for (int j = threadIdx.x; j < ranking.vocab; j += kThreads) {
      const float logit = ranking.row[j];
      const uint32_t other = RankKey(logit);
      if (ranking.PlaceOf(logit) != gap) continue;
      if (shift < 32 - kDigitBits && (other ^ key) >> (shift + kDigitBits) != 0) continue;
      // The largest digit ranks first.
      Add(shared.digits[kDigits - 1 - (other >> shift & (kDigits - 1))],
          TokenWeight(ranking.Gap(logit)));
    }
    __syncthreads();
    Walk<kDigits>(shared.digits, tokens, wanted, shared);
    key |= (kDigits - 1 - shared.place) << shift;
    __syncthreads();
  }
  return AmongEquals(ranking, key, tokens, wanted, shared);
}

__global__ void __launch_bounds__(kThreads)
    DrawKernel(Rows<float> logits, int vocab, const RowTask* tasks, const int32_t* seen,
               int32_t* out) {
  extern __shared__ Whole memory[];
  Shared& shared = *reinterpret_cast<Shared*>(memory);
  float* const row = logits[blockIdx.x];
  const RowTask& task = tasks[blockIdx.x];
  const DrawRule& rule = task.rule;
  for (int64_t i = task.seen_begin + threadIdx.x; i < task.seen_end; i += kThreads) {
    float& logit = row[seen[i]];
    logit = logit > 0 ? __fdiv_rn(logit, task.penalty) : __fmul_rn(logit, task.penalty);
  }
  __syncthreads();
  const Top top = Largest(row, vocab);
  if (top.index < 0 || rule.temperature == 0) {
    if (threadIdx.x == 0) out[blockIdx.x] = top.index;
    return;
  }
  constexpr float kNats = 28.5f;  // 41 ln 2 and a little: beyond them nothing has weight
  const auto per_nat = static_cast<float>((kGaps - 1) / (kNats * rule.temperature));
  const Ranking ranking = {row, vocab, top.value, rule.temperature, per_nat};
  const Whole likely = CountGaps(ranking, rule.lowest_gap, shared);
  Whole total = 0;
  for (int i = threadIdx.x; i < kGaps; i += kThreads) total += shared.gaps[i].weight;
  Whole left = BlockSum<kThreads>(total);
  if (rule.top_k > 0) left = Reaching(ranking, true, rule.top_k, shared).weight;
  if (rule.top_p < 1) left = Reaching(ranking, false, ShareOf(left, rule.top_p), shared).weight;
  left = left < likely ? left : likely;
  const Found found = Reaching(ranking, false, DrawBelow(left, rule.random) + 1, shared);
  if (threadIdx.x == 0) out[blockIdx.x] = found.id;
}

}  // namespace

void DrawTokens(const Exec& exec, const DrawTokensArgs& args) {
  thread_local std::vector<RowTask> tasks;
  thread_local std::vector<int32_t> seen;
  tasks.clear();
  seen.clear();
  for (size_t i = 0; i < args.rows.size(); ++i) {
    const DrawRow& by = args.rows[i];
    const auto begin = std::ssize(seen);
    seen.insert(seen.end(), by.seen.begin(), by.seen.end());
    tasks.push_back({args.rules[i], by.penalty, begin, std::ssize(seen)});
  }
  const auto rows = static_cast<int64_t>(tasks.size());
  const Scratch<RowTask> task_memory(exec, rows);
  const Scratch<int32_t> seen_memory(exec, std::ssize(seen)), out(exec, rows);
  const auto upload = [&](const auto& from, auto* to) {
    if (from.empty()) return;
    // From pageable memory, which has been read when the call returns.
    PITH_CUDA(cudaMemcpyAsync(to, from.data(), from.size() * sizeof(from[0]),
                              cudaMemcpyHostToDevice, StreamOf(exec)));
  };
  upload(tasks, task_memory.data());
  upload(seen, seen_memory.data());
  Launch(exec, DrawKernel, static_cast<unsigned>(rows), kThreads, sizeof(Shared), args.logits,
         static_cast<int>(args.logits.cols), task_memory.data(), seen_memory.data(), out.data());
  exec.backend->Download(exec.queue, out.data(), args.out.data(), args.out.size_bytes());
}

}  // namespace pith::cuda
