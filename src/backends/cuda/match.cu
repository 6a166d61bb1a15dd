// The best match of each row is the largest entry of its row in a matrix product, sources times
// targets, that is too large to hold. Unit rows are laid out for tiles; a block takes one tile of
// sources through some tiles of targets and keeps, per source, the best so far in registers. Every
// similarity is one chain of multiply-adds in ascending columns, whatever tile it falls into, so
// that equal rows tie exactly.
#include "ops/match.h"

#include <algorithm>

#include "backends/cuda/kernels.h"
#include "backends/cuda/launch.cuh"
#include "backends/cuda/match.cuh"

namespace pith::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kTile = 64;                // sources and targets of a block's product
constexpr int kDepth = 16;               // columns at a time
constexpr int kStride = kTile + 4;       // of a panel in shared memory: spreads its banks
constexpr int kOwn = 8;                  // sources of a thread, with 4 targets
constexpr int kLanes = kTile / 4;        // threads that share a source
constexpr int64_t kSourcesATime = 2048;  // bounds the scratch for them
constexpr unsigned kSplits = 32;         // of the targets, at most, among blocks

using Candidates = MatchArgs::Candidates;

// units [blocks, depth] = the unit rows of `rows`, a block each; 0 beyond the last row and column.
__global__ void Normalise(Rows<const float> features, const int32_t* rows, int64_t count,
                          int64_t cols, int64_t depth, float* units) {
  const int64_t i = blockIdx.x;
  WriteUnit<kThreads>(features[i < count ? rows[i] : 0], i < count ? cols : 0, depth,
                      units + i * depth);
}

// A thread's share of kDepth columns of kTile unit rows: four of each of two rows.
struct Share {
  float4 low, high;
};

__device__ Share Fetch(const float* units, int64_t depth, int64_t column) {
  const float* const at = units + threadIdx.x / 4 * depth + column + threadIdx.x % 4 * 4;
  return {*reinterpret_cast<const float4*>(at),
          *reinterpret_cast<const float4*>(at + kTile / 2 * depth)};
}

struct Panel {
  alignas(16) float values[kDepth][kStride];

  __device__ void Put(const Share& share) {
    const int row = threadIdx.x / 4, k = threadIdx.x % 4 * 4;
    const float low[] = {share.low.x, share.low.y, share.low.z, share.low.w};
    const float high[] = {share.high.x, share.high.y, share.high.z, share.high.w};
    for (int i = 0; i < 4; ++i) {
      values[k + i][row] = low[i];
      values[k + i][row + kTile / 2] = high[i];
    }
  }
};

// sums += the columns in shared memory.
__device__ void MultiplyPanels(const Panel& left, const Panel& right, float (&sums)[kOwn][4]) {
  const int own = threadIdx.x / kLanes * kOwn, other = threadIdx.x % kLanes * 4;
#pragma unroll
  for (int k = 0; k < kDepth; ++k) {
    float a[kOwn], b[4];
    *reinterpret_cast<float4*>(a) = *reinterpret_cast<const float4*>(&left.values[k][own]);
    *reinterpret_cast<float4*>(a + 4) = *reinterpret_cast<const float4*>(&left.values[k][own + 4]);
    *reinterpret_cast<float4*>(b) = *reinterpret_cast<const float4*>(&right.values[k][other]);
#pragma unroll
    for (int r = 0; r < kOwn; ++r) {
#pragma unroll
      for (int c = 0; c < 4; ++c) sums[r][c] = fmaf(a[r], b[c], sums[r][c]);
    }
  }
}

// sums = a tile of sources times a tile of targets. The next columns are on their way while the
// present ones are multiplied.
__device__ void MultiplyTiles(const float* sources, const float* targets, int64_t depth,
                              float (&sums)[kOwn][4]) {
  __shared__ Panel left, right;
  for (auto& row : sums) {
    for (float& sum : row) sum = 0;
  }
  if (depth == 0) return;
  Share from_left = Fetch(sources, depth, 0), from_right = Fetch(targets, depth, 0);
  for (int64_t k = kDepth; k <= depth; k += kDepth) {
    __syncthreads();
    left.Put(from_left);
    right.Put(from_right);
    __syncthreads();
    if (k < depth) {
      from_left = Fetch(sources, depth, k);
      from_right = Fetch(targets, depth, k);
    }
    MultiplyPanels(left, right, sums);
  }
}

// parts [gridDim.y, kSourcesATime] = the best of each split of the targets that a tile of sources
// may match. `candidates` and `sources` are those of `count` sources.
__global__ void MatchTiles(const float* sources, const float* targets, const Candidates* candidates,
                           int64_t count, int64_t depth, Best* parts) {
  const int64_t first = blockIdx.x * static_cast<int64_t>(kTile);
  const int64_t last = min(first + kTile, count) - 1;
  const int64_t low = candidates[first].begin / kTile;
  const int64_t high = (candidates[last].end + kTile - 1) / kTile;
  const int64_t share = (max(high - low, int64_t{0}) + gridDim.y - 1) / gridDim.y;
  const int64_t begin = low + blockIdx.y * share;
  const int64_t own = first + threadIdx.x / kLanes * kOwn;
  Best best[kOwn];
  for (Best& b : best) b = {-INFINITY, INT_MAX};
  for (int64_t tile = begin; tile < min(high, begin + share); ++tile) {
    float sums[kOwn][4];
    MultiplyTiles(sources + first * depth, targets + tile * kTile * depth, depth, sums);
#pragma unroll
    for (int r = 0; r < kOwn; ++r) {
      const Candidates range = own + r < count ? candidates[own + r] : Candidates{};
      const int64_t from = tile * kTile + threadIdx.x % kLanes * 4;
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        if (from + c < range.begin || from + c >= range.end) continue;
        Take(best[r], {sums[r][c], static_cast<int32_t>(from + c)});
      }
    }
  }
#pragma unroll
  for (int r = 0; r < kOwn; ++r) {
    for (int offset = kLanes / 2; offset > 0; offset /= 2) {
      Take(best[r], {__shfl_xor_sync(~0u, best[r].similarity, offset),
                     __shfl_xor_sync(~0u, best[r].index, offset)});
    }
    if (threadIdx.x % kLanes == 0) parts[blockIdx.y * kSourcesATime + own + r] = best[r];
  }
}

__global__ void BestOfSplits(const Best* parts, unsigned splits, int64_t count,
                             const int32_t* targets, Match* out) {
  const int64_t i = blockIdx.x * static_cast<int64_t>(kThreads) + threadIdx.x;
  if (i >= count) return;
  Best best = parts[i];
  for (unsigned s = 1; s < splits; ++s) Take(best, parts[s * kSourcesATime + i]);
  out[i].target = best.index == INT_MAX ? -1 : targets[best.index];
  out[i].similarity = best.similarity;
}

}  // namespace

void MatchF32(const Exec& exec, const MatchLists& lists) {
  const int64_t cols = lists.features.cols;
  const int64_t depth = Blocks(cols, kDepth) * int64_t{kDepth};
  const unsigned tiles = Blocks(lists.target_count, kTile);
  const unsigned splits = std::min(kSplits, tiles);
  const Scratch<float> target_units(exec, tiles * kTile * depth);
  const Scratch<float> source_units(exec, kSourcesATime * depth);
  const Scratch<Best> parts(exec, splits * kSourcesATime);
  const auto normalise = [&](const int32_t* rows, int64_t count, float* units) {
    Launch(exec, Normalise, Blocks(count, kTile) * kTile, kThreads, 0, lists.features, rows, count,
           cols, depth, units);
  };
  normalise(lists.targets, lists.target_count, target_units.data());
  for (int64_t first = 0; first < lists.source_count; first += kSourcesATime) {
    const int64_t count = std::min(kSourcesATime, lists.source_count - first);
    normalise(lists.sources + first, count, source_units.data());
    Launch(exec, MatchTiles, dim3(Blocks(count, kTile), splits), kThreads, 0, source_units.data(),
           target_units.data(), lists.candidates + first, count, depth, parts.data());
    Launch(exec, BestOfSplits, Blocks(count, kThreads), kThreads, 0, parts.data(), splits, count,
           lists.targets, lists.best + first);
  }
}

void BestMatches(const Exec& exec, const MatchArgs& args) {
  const auto sources = static_cast<int64_t>(args.sources.size());
  const Scratch<Match> best(exec, sources);
  MatchF32(exec, {.features = args.features,
                  .sources = Place(exec, args.sources),
                  .source_count = sources,
                  .targets = Place(exec, args.targets),
                  .target_count = static_cast<int64_t>(args.targets.size()),
                  .candidates = Place(exec, args.candidates),
                  .best = best.data()});
  exec.backend->Download(exec.queue, best.data(), args.best.data(),
                         sources * static_cast<int64_t>(sizeof(Match)));
}

}  // namespace pith::cuda
