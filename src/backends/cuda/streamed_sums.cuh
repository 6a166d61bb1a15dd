// What becomes of a streamed product's sums: parts of warps and of blocks that share them, and the
// residual addition behind them.
#ifndef PITH_BACKENDS_CUDA_STREAMED_SUMS_CUH_
#define PITH_BACKENDS_CUDA_STREAMED_SUMS_CUH_

#include "backends/cuda/streamed_product.cuh"

namespace pith::cuda::stream {

#if PITH_HAS_BULK_COPY

// Which of two places the sums of a group have.
__device__ inline int TurnOf(int first) { return first / kLate % 2; }

__device__ inline float FactorOf(const CompactRows& rows, int64_t row) {
  if (rows.squares == nullptr) return 1;
  float sum = 0;
  for (int64_t i = threadIdx.x % 32; i < rows.parts; i += 32) {
    sum += rows.squares[row * rows.parts + i];
  }
  return rsqrtf(WarpSum(sum) / static_cast<float>(rows.width) + rows.eps);
}

// By all warps of the block that adds to `out`.
__device__ inline void LoadFactors(const StreamTask& task, const Share& share, float* factors) {
  if (!task.add || share.rank != 0) return;
  for (int row = threadIdx.x / 32; row < task.rows; row += kWarps) {
    const float factor = FactorOf(task.factors, row);
    if (threadIdx.x % 32 == 0) factors[row] = factor;
  }
}

// The warp's part of a tile's sums, as [row of x][row of the weight].
template <int kTiles>
__device__ inline void StoreParts(const float (&sum)[(kTiles + 1) / 2][2][4],
                                  float (&parts)[8 * kTiles][kRows]) {
  const int row = threadIdx.x % 32 / 4;
#pragma unroll
  for (int t = 0; t < kTiles; ++t) {
    const float(&s)[2][4] = sum[t / 2];
    const int e = t % 2 * 2;
    *reinterpret_cast<float2*>(&parts[8 * t + row][threadIdx.x % 4 * 2]) = {
        s[0][e] + s[1][e], s[0][e + 1] + s[1][e + 1]};
  }
}

// A block's share of rows of `out` whose sums are finished a group of tiles at a time, by a warp.
template <int kTiles>
struct Late {
  static constexpr int kRowsAWarp = 8 * kTiles / kWarps;
  static constexpr int kPieces = kLate / 32;
  float before[kRowsAWarp][kPieces];
  float squares[kRowsAWarp] = {};  // the lane's part of each row's

  // Calls f(i, j, row, at) for the lane's elements of a group with `count` rows of the weight.
  template <class F>
  __device__ void ForEach(const StreamTask& task, int count, const F& f) {
#pragma unroll
    for (int i = 0; i < kRowsAWarp; ++i) {
      const int row = threadIdx.x / 32 + i * kWarps;
      if (row >= task.rows) continue;
#pragma unroll
      for (int j = 0; j < kPieces; ++j) {
        const int at = j * 32 + threadIdx.x % 32;
        if (at < count) f(i, j, row, at);
      }
    }
  }
  // Of a group, whose first row of the share is `first`.
  __device__ void Load(const StreamTask& task, const Share& share, int first) {
    if (!task.add || share.rank != 0) return;
    ForEach(task, share.count - first, [&](int i, int j, int row, int at) {
      before[i][j] = task.out[row * task.out_stride + share.begin + first + at];
    });
  }
  __device__ void Finish(const StreamTask& task, const Share& share, const Shared<kTiles>& shared,
                         int first) {
    if (share.rank != 0) return;
    ForEach(task, share.count - first, [&](int i, int j, int row, int at) {
      float v = shared.sums[row][at];
      if (task.split > 1) v += shared.theirs[TurnOf(first)][row][at];
      if (task.bias != nullptr) v += task.bias[share.begin + first + at];
      if (task.add) v = fmaf(shared.factors[row], v, before[i][j]);
      squares[i] = fmaf(v, v, squares[i]);
      task.out[row * task.out_stride + share.begin + first + at] = v;
    });
  }
  // Behind all groups: the block's parts of its rows' squares, and zeros past those of the last.
  __device__ void StoreSquares(const StreamTask& task, const Share& share) const {
    if (task.made_squares == nullptr || share.rank != 0) return;
    const int blocks = static_cast<int>(gridDim.x) / task.split;
#pragma unroll
    for (int i = 0; i < kRowsAWarp; ++i) {
      const int row = threadIdx.x / 32 + i * kWarps;
      if (row >= task.rows) continue;
      float* const to = task.made_squares + row * task.made_stride;
      const float sum = WarpSum(squares[i]);
      if (threadIdx.x % 32 == 0) to[share.block] = sum;
      const int past = blocks + static_cast<int>(threadIdx.x) % 32;
      if (share.block == 0 && past < task.made_parts) to[past] = 0;
    }
  }
};

// The sums of a tile over the block's warps: to `out`, or to where they wait for the rest.
template <int kTiles>
__device__ inline void AddParts(const StreamTask& task, const Share& share, bool late, int tile,
                                Shared<kTiles>& shared) {
  const int row = threadIdx.x / kRows;  // of x
  const int column = threadIdx.x % kRows;
  const int at = tile * kRows + column;
  if (row < task.rows && at < share.count) {
    float v = 0;
    for (const auto& part : shared.parts[tile % 2]) v += part[row][column];
    const int first = at / kLate * kLate;
    if (!late) {
      if (task.bias != nullptr) v += task.bias[share.begin + at];
      task.out[row * task.out_stride + share.begin + at] = v;
    } else if (share.rank == 0) {
      shared.sums[row][at - first] = v;
    } else {
      StoreInBlock(0, &shared.theirs[TurnOf(first)][row][at - first], v);
    }
  }
  __syncwarp();
}

#endif  // PITH_HAS_BULK_COPY

}  // namespace pith::cuda::stream

#endif  // PITH_BACKENDS_CUDA_STREAMED_SUMS_CUH_
