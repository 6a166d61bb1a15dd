// The products of a tile's far rows with 64 channels of in_proj, stage by stage. Both kernels sum
// along d_model in the same order of pieces of 16, but not within one.
#ifndef PITH_BACKENDS_CUDA_FAR_PRODUCT_CUH_
#define PITH_BACKENDS_CUDA_FAR_PRODUCT_CUH_

#include "backends/cuda/mamba2_scan_task.cuh"
#include "backends/cuda/warpgroup.cuh"

namespace pith::cuda::far {

using scan::kPast;
using scan::kTile;

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int kColumns = 64;              // channels of a block
constexpr int kRows = 128;                // of a tile
constexpr int kRawRows = kTile + kRows;   // the last kPast of the first kTile are the rows before
constexpr int kRawBegin = kTile - kPast;  // which have this index
constexpr int kDepth = 64;                // columns of u and of the weight in a stage
constexpr int kPieces = kDepth / 8;       // of 16 bytes
constexpr int kRawStride = kColumns + 8;  // no two rows of eight meet in a bank

// Operands, as warpgroup.cuh wants tiles.
template <class T>
struct alignas(1024) Stage {
  T u[kRawRows * kDepth];
  T w[kColumns * kDepth];
};

// Column `piece` · 8 of a row of a stage. Rows are 128 bytes, whose pieces are permuted so that no
// two of eight rows meet in a bank.
__device__ inline int At(int row, int piece) { return row * kDepth + (piece ^ (row & 7)) * 8; }

template <class T>
__device__ uint32_t Fold(uint32_t w, float2 norm_weight) {
  const float2 v = Unpack<T>(w);
  return Pack<T>(v.x * norm_weight.x, v.y * norm_weight.y);
}

// 16 channels of the weight and 16 of its columns with the norm's: as MultiplyAdd's b, two of them.
template <class T>
__device__ void LoadWeight(const Stage<T>& stage, const float* norm_weight, int channel, int k,
                           uint32_t (&b)[4]) {
  const int lane = threadIdx.x % 32;
  LoadTiles(b, &stage.w[At(channel + lane / 16 * 8 + lane % 8, 2 * k + lane / 8 % 2)]);
  const float* const factor = norm_weight + k * kTile + lane % 4 * 2;
  const float2 low = *reinterpret_cast<const float2*>(factor);
  const float2 high = *reinterpret_cast<const float2*>(factor + 8);
  b[0] = Fold<T>(b[0], low);
  b[1] = Fold<T>(b[1], high);
  b[2] = Fold<T>(b[2], low);
  b[3] = Fold<T>(b[3], high);
}

#if PITH_HAS_WARPGROUP

// A warpgroup takes 80 rows, from tile `begin` on or from the 80th after it: a tile of 64 rows with
// those before it is one warpgroup's. What it computes beyond tile `end` of whatever lies there is
// not stored.
constexpr int kUnit = 80;
using Sums = float[kUnit / 8][4];

template <class T>
__device__ void MultiplyStage(const Stage<T>& stage, const float* norm_weight, int begin, int end,
                              Sums& sums) {
  const int first = begin * kTile + static_cast<int>(threadIdx.x) / 128 * kUnit;
  if (first >= end * kTile) return;
  const int channel = threadIdx.x / 32 % 4 * kTile;
  uint32_t w[kDepth / kTile][4];
#pragma unroll
  for (int k = 0; k < kDepth / kTile; ++k) LoadWeight(stage, norm_weight, channel, k, w[k]);
  BeginProducts();
#pragma unroll
  for (int k = 0; k < kDepth / kTile; ++k) {
    const uint32_t a[4] = {w[k][0], w[k][2], w[k][1], w[k][3]};
    ProductFrom80<T>(sums, a, TileAt(&stage.u[first * kDepth + k * kTile]));
  }
  CommitProducts();
  AwaitProducts();
  Settle(sums);
}

template <class T>
__device__ void StoreRaw(int begin, int end, const Sums& sums, T (*raw)[kRawStride]) {
  const int lane = threadIdx.x % 32;
  const int channel = threadIdx.x / 32 % 4 * kTile + lane / 4;
  const int first = begin * kTile + static_cast<int>(threadIdx.x) / 128 * kUnit + lane % 4 * 2;
#pragma unroll
  for (int j = 0; j < kUnit / 8; ++j) {
    const int row = first + 8 * j;
    if (row >= end * kTile) break;
    raw[row][channel] = T(sums[j][0]);
    raw[row + 1][channel] = T(sums[j][1]);
    raw[row][channel + 8] = T(sums[j][2]);
    raw[row + 1][channel + 8] = T(sums[j][3]);
  }
}

#else

constexpr int kMostTiles = (kRawRows / kTile + 1) / 2;  // of a warp, which takes every other one
using Sums = float[kMostTiles][2][4];

// Warp w takes 16 channels and every other tile of 16 rows: w % 4 and w / 4 say which.
template <class T>
__device__ void MultiplyStage(const Stage<T>& stage, const float* norm_weight, int begin, int end,
                              Sums& sums) {
  const int lane = threadIdx.x % 32;
  const int channel = threadIdx.x / 32 % 4 * kTile;
  const int odd = threadIdx.x / 32 / 4;
#pragma unroll
  for (int k = 0; k < kDepth / kTile; ++k) {
    uint32_t b[4];
    LoadWeight(stage, norm_weight, channel, k, b);
#pragma unroll
    for (int m = 0; m < kMostTiles; ++m) {
      const int tile = 2 * m + odd;
      if (tile < begin || tile >= end) continue;
      uint32_t a[4];
      LoadTiles(a, &stage.u[At(tile * kTile + lane % 16, 2 * k + lane / 16)]);
      MultiplyAdd<T>(sums[m][0], a, b[0], b[1]);
      MultiplyAdd<T>(sums[m][1], a, b[2], b[3]);
    }
  }
}

template <class T>
__device__ void StoreRaw(int begin, int end, const Sums& sums, T (*raw)[kRawStride]) {
  const int lane = threadIdx.x % 32;
  const int channel = threadIdx.x / 32 % 4 * kTile + lane % 4 * 2;
#pragma unroll
  for (int m = 0; m < kMostTiles; ++m) {
    const int tile = 2 * m + static_cast<int>(threadIdx.x) / 32 / 4;
    if (tile < begin || tile >= end) continue;
    const int row = tile * kTile + lane / 4;
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const auto store = [&](int r, float a, float b) {
        *reinterpret_cast<uint32_t*>(&raw[r][channel + 8 * j]) = Pack<T>(a, b);
      };
      store(row, sums[m][j][0], sums[m][j][1]);
      store(row + 8, sums[m][j][2], sums[m][j][3]);
    }
  }
}

#endif  // PITH_HAS_WARPGROUP

}  // namespace pith::cuda::far

#endif  // PITH_BACKENDS_CUDA_FAR_PRODUCT_CUH_
