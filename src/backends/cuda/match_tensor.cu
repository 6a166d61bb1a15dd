// Best matches of a batch by tensor cores. As in match.cu, no matrix of similarities is ever held:
// a block takes a tile of one sequence's sources through some tiles of its targets and keeps the
// best in registers. Every similarity is one chain of products in ascending columns, whatever tile
// it falls into, so that equal rows tie exactly.
#include <algorithm>

#include "backends/cuda/launch.cuh"
#include "backends/cuda/match.cuh"
#include "backends/cuda/tensor_core.cuh"

namespace pith::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kTile = 128;         // sources and targets of a block's product; four warps share it
constexpr int kPart = kTile / 2;   // and those of a warp's
constexpr int kDepth = 64;         // columns at a time
constexpr int kStages = 3;         // of them on their way or in use
constexpr unsigned kSplits = 32;   // of the targets, at most, among blocks
constexpr int kLine = kDepth / 8;  // of 16 bytes, a row's
constexpr int kOwn = kPart / 8;    // sources of a thread

using Candidates = MatchArgs::Candidates;

struct Stage {
  uint4 sources[kTile * kLine];
  uint4 targets[kTile * kLine];
};

// Where a row's line lies in a tile: eight rows' equal lines in different banks.
__device__ int LineAt(int row, int line) { return row * kLine + (line ^ row % 8); }

// units [rows of the batch, depth] = the unit rows that `lists` order; 0 beyond the last column.
__global__ void RoundedUnits(Rows<const float> features, PairLists lists, int64_t cols,
                             int64_t depth, __half* units) {
  const PairTask& task = lists.tasks[blockIdx.y];
  if (blockIdx.x >= task.unprotected()) return;
  const int64_t at = task.sequence.begin + blockIdx.x;
  WriteUnit<kThreads>(features[task.sequence.begin + lists.order[at]], cols, depth,
                      units + at * depth);
}

// Rows of a tile that a block copies: `count` of `rows` are there, the others become 0.
struct Panel {
  const __half* rows;
  int64_t count;

  // `column`: the first of kDepth.
  __device__ void Copy(int64_t depth, int64_t column, uint4* to) const {
    const int first = threadIdx.x / kLine, line = threadIdx.x % kLine;
    constexpr int kStep = kThreads / kLine;
    const __half* from = rows + first * depth + column + line * 8;
    uint4* at = to + LineAt(first, line);
#pragma unroll
    for (int i = 0; i < kTile / kStep; ++i) {
      CopyAsync(at, from, first + i * kStep < count);
      from += kStep * depth;
      at += kStep * kLine;
    }
  }
};

// Of a warp: [m16 tile][n8 tile][value].
using Sums = float[4][8][4];

__device__ void MultiplyStage(const Stage& stage, Sums& sums) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int own = warp / 2 * kPart, other = warp % 2 * kPart;
#pragma unroll
  for (int k = 0; k < kDepth / 16; ++k) {
    uint32_t a[4][4], b[4][4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      LoadTiles(a[i], &stage.sources[LineAt(own + i * 16 + lane % 16, 2 * k + lane / 16)]);
      LoadTiles(
          b[i],
          &stage.targets[LineAt(other + i * 16 + lane / 16 * 8 + lane % 8, 2 * k + lane / 8 % 2)]);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        MultiplyAdd<__half>(sums[i][j], a[i], b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
      }
    }
  }
}

// sums = a tile of sources times a tile of targets. Ends with a barrier.
__device__ void MultiplyTiles(const Panel& sources, const Panel& targets, int64_t depth,
                              Stage* stages, Sums& sums) {
#pragma unroll
  for (auto& row : sums) {
    for (auto& tile : row) {
      for (float& sum : tile) sum = 0;
    }
  }
  const int steps = static_cast<int>(depth / kDepth);
  const auto copy = [&](int step) {
    if (step < steps) {
      Stage& stage = stages[step % kStages];
      sources.Copy(depth, int64_t{step} * kDepth, stage.sources);
      targets.Copy(depth, int64_t{step} * kDepth, stage.targets);
    }
    CommitCopies();
  };
  for (int step = 0; step < kStages - 1; ++step) copy(step);
  for (int step = 0; step < steps; ++step) {
    AwaitCopies<kStages - 2>();
    __syncthreads();  // the copies are seen, and the stage of the step before is free
    copy(step + kStages - 1);
    MultiplyStage(stages[step % kStages], sums);
  }
  AwaitCopies<0>();
  __syncthreads();
}

// The source of a thread's value i (of kOwn) within its block's tile.
__device__ int SourceAt(int i) {
  return threadIdx.x / 64 * kPart + i / 2 * 16 + i % 2 * 8 + threadIdx.x % 32 / 4;
}

// `targets`: how many stand before the tile.
__device__ void TakeTile(const Sums& sums, const Candidates* candidates, int64_t sources,
                         int64_t targets, Best (&best)[kOwn]) {
  const int64_t from = targets + threadIdx.x / 32 % 2 * kPart + threadIdx.x % 4 * 2;
#pragma unroll
  for (int i = 0; i < kOwn; ++i) {
    const int source = SourceAt(i);
    const Candidates range = source < sources ? candidates[source] : Candidates{};
#pragma unroll
    for (int j = 0; j < 16; ++j) {
      const int64_t target = from + j / 2 * 8 + j % 2;
      if (target < range.begin || target >= range.end) continue;
      Take(best[i], {sums[i / 2][j / 2][i % 2 * 2 + j % 2], static_cast<int32_t>(target)});
    }
  }
}

// parts [gridDim.y, rows of the batch] = the best of each split of the targets that a tile of
// sources may match.
__global__ void __launch_bounds__(kThreads, 2)
    MatchTiles(const __half* units, int64_t depth, PairLists lists, int64_t rows, Best* parts) {
  extern __shared__ Stage stages[];
  __shared__ Best both[2][kTile];
  const PairTask& task = lists.tasks[blockIdx.z];
  const int64_t first = blockIdx.x * int64_t{kTile};
  if (first >= task.sources()) return;
  const int64_t begin = task.sequence.begin + first;
  const int64_t sources = task.sources() - first;
  const Candidates* const candidates = lists.candidates + begin;
  const int64_t low = candidates[0].begin / kTile;
  const int64_t end = candidates[min(sources, int64_t{kTile}) - 1].end;
  const int64_t high = (end + kTile - 1) / kTile;
  const int64_t share = (max(high - low, int64_t{0}) + gridDim.y - 1) / gridDim.y;
  const __half* const others = units + (task.sequence.begin + task.sources()) * depth;
  Best best[kOwn];
  for (Best& b : best) b = {-INFINITY, INT_MAX};
  const int64_t own = low + blockIdx.y * share;
  for (int64_t tile = own; tile < min(high, own + share); ++tile) {
    const int64_t before = tile * kTile;
    Sums sums;
    MultiplyTiles({units + begin * depth, sources},
                  {others + before * depth, task.targets() - before}, depth, stages, sums);
    TakeTile(sums, candidates, sources, before, best);
  }
#pragma unroll
  for (int i = 0; i < kOwn; ++i) {
    for (int offset = 1; offset < 4; offset *= 2) {
      Take(best[i], {__shfl_xor_sync(~0u, best[i].similarity, offset),
                     __shfl_xor_sync(~0u, best[i].index, offset)});
    }
    if (threadIdx.x % 4 == 0) both[threadIdx.x / 32 % 2][SourceAt(i)] = best[i];
  }
  __syncthreads();
  if (threadIdx.x >= sources) return;
  Best all = both[0][threadIdx.x];
  Take(all, both[1][threadIdx.x]);
  parts[blockIdx.y * rows + begin + threadIdx.x] = all;
}

__global__ void BestOfSplits(const Best* parts, unsigned splits, int64_t rows, PairLists lists) {
  const PairTask& task = lists.tasks[blockIdx.y];
  const int64_t source = blockIdx.x * int64_t{kThreads} + threadIdx.x;
  if (source >= task.sources()) return;
  const int64_t at = task.sequence.begin + source;
  Best best = parts[at];
  for (unsigned s = 1; s < splits; ++s) Take(best, parts[s * rows + at]);
  const int32_t* const targets = lists.order + task.sequence.begin + task.sources();
  lists.best[at].target = best.index == INT_MAX ? -1 : targets[best.index];
  lists.best[at].similarity = best.similarity;
}

}  // namespace

void MatchTensor(const Exec& exec, MatView<const float> features, std::span<const PairTask> tasks,
                 const PairLists& lists) {
  int64_t sources = 0, targets = 0;
  for (const PairTask& task : tasks) {
    sources = std::max(sources, task.sources());
    targets = std::max(targets, task.targets());
  }
  if (sources == 0) return;
  const int64_t depth = Blocks(features.cols, kDepth) * int64_t{kDepth};
  const unsigned splits = std::min(kSplits, Blocks(targets, kTile));
  const auto batch = static_cast<unsigned>(tasks.size());
  const Scratch<__half> units(exec, features.rows * depth);
  const Scratch<Best> parts(exec, splits * features.rows);
  Launch(exec, RoundedUnits, dim3(static_cast<unsigned>(sources + targets), batch), kThreads, 0,
         features, lists, features.cols, depth, units.data());
  Launch(exec, MatchTiles, dim3(Blocks(sources, kTile), splits, batch), kThreads,
         kStages * sizeof(Stage), units.data(), depth, lists, features.rows, parts.data());
  Launch(exec, BestOfSplits, dim3(Blocks(sources, kThreads), batch), kThreads, 0, parts.data(),
         splits, features.rows, lists);
}

}  // namespace pith::cuda
