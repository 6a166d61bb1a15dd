// The parts of a streamed product's kernel (streamed_product.cu).
#ifndef PITH_BACKENDS_CUDA_STREAMED_PRODUCT_CUH_
#define PITH_BACKENDS_CUDA_STREAMED_PRODUCT_CUH_

#include "backends/cuda/bulk_copy.cuh"
#include "backends/cuda/launch.cuh"
#include "backends/cuda/tensor_core.cuh"
#include "ops/mamba2_mixer.h"

namespace pith::cuda::stream {

constexpr int kWarps = 8;
constexpr int kThreads = 32 * kWarps;
constexpr int kRows = 8;      // of the weight, that are multiplied together
constexpr int kColumns = 32;  // of the weight a step of a warp
constexpr int kSteps = 10;    // of a warp, at most
constexpr int kMostColumns = kWarps * kSteps * kColumns;  // a block's
constexpr int kMostSplit = 2;                             // blocks that share a sum
constexpr int kStages = 2;     // groups of kRows rows that a block has room for
constexpr int kMostTiles = 4;  // of 8 rows of x
constexpr int kGroup = 8;      // tiles whose sums are finished together, where they are not at once
constexpr int kLate = kGroup * kRows;
constexpr int kFiller = kWarps - 1;  // the warp that asks for copies; the first ones add parts

// Of rows of x in f32.
struct NormInFront {
  const float* squares;  // [rows, parts]
  int64_t stride;
  int parts;            // a multiple of 4
  const float* weight;  // or null
  float eps;
};

struct StreamTask {
  const void* x;
  int64_t x_stride;
  int rows;  // of x, at most 8 kTiles
  const void* w;
  int w_rows;
  int cols;
  int split;
  const float* bias;
  float* out;
  int64_t out_stride;
  bool add;
  CompactRows factors;
  float* made_squares;  // or null
  int64_t made_stride;
  int made_parts;
  NormInFront norm;
};

template <int kTiles>
struct Shared {
  float parts[2][kWarps][8 * kTiles][kRows];
  float sums[8 * kTiles][kLate];
  float theirs[2][8 * kTiles][kLate];  // of the cluster's other block, by turns
  float factors[8 * kTiles];
  uint64_t arrived[kStages];
};

// Bytes before the tiles.
template <int kTiles>
constexpr size_t kBefore = (sizeof(Shared<kTiles>) + 127) / 128 * 128;

// Bytes from one row in shared memory to the next: such that the 16-byte pieces that eight lanes
// read together, four of each of two rows, lie in different banks.
__host__ __device__ constexpr int PitchOf(int columns) {
  return 2 * columns + (columns % 64 == 0 ? 64 : 0);
}

// Bytes of the tiles' places; behind them lies the weight of a norm in front.
__host__ __device__ constexpr size_t RingBytes(int columns) {
  return size_t{kStages} * kRows * PitchOf(columns);
}
template <int kTiles, bool kNorm>
constexpr size_t SharedBytes(int columns) {
  return kBefore<kTiles> + RingBytes(columns) + (kNorm ? columns * sizeof(float) : 0);
}
__device__ inline float* NormWeight(unsigned char* ring, int columns) {
  return reinterpret_cast<float*>(ring + RingBytes(columns));
}

// Which of two places the sums of a group have.
__device__ inline int TurnOf(int first) { return first / kLate % 2; }

template <class T>
__device__ inline uint4 Round8(const float4& a, const float4& b) {
  return {Pack<T>(a.x, a.y), Pack<T>(a.z, a.w), Pack<T>(b.x, b.y), Pack<T>(b.z, b.w)};
}

// Eight columns of a row of x, rounded to T.
template <class T>
__device__ inline uint4 LoadX(const T* x) {
  return *reinterpret_cast<const uint4*>(x);
}
template <class T>
__device__ inline uint4 LoadX(const float* x) {
  return Round8<T>(reinterpret_cast<const float4*>(x)[0], reinterpret_cast<const float4*>(x)[1]);
}
__device__ inline float4 Scaled(const float4& x, float scale, const float4& weight) {
  return {x.x * scale * weight.x, x.y * scale * weight.y, x.z * scale * weight.z,
          x.w * scale * weight.w};
}

// A block's share of the product: `count` rows of the weight from `begin` on, and its columns.
struct Share {
  int rank;  // among the blocks that share a sum: which columns
  int block;
  int columns;
  int begin;
  int count;

  __device__ explicit Share(const StreamTask& task)
      : rank(blockIdx.x % task.split),
        block(blockIdx.x / task.split),
        columns(task.cols / task.split) {
    const int64_t blocks = gridDim.x / task.split;
    begin = static_cast<int>(block * int64_t{task.w_rows} / blocks);
    count = static_cast<int>((block + 1) * int64_t{task.w_rows} / blocks) - begin;
  }
  __device__ int column() const { return rank * columns; }
  __device__ int tiles() const { return (count + kRows - 1) / kRows; }
};

#if PITH_HAS_BULK_COPY

__device__ inline float FactorOf(const CompactRows& rows, int64_t row) {
  if (rows.squares == nullptr) return 1;
  float sum = 0;
  for (int64_t i = threadIdx.x % 32; i < rows.parts; i += 32) {
    sum += rows.squares[row * rows.parts + i];
  }
  return rsqrtf(WarpSum(sum) / static_cast<float>(rows.width) + rows.eps);
}

// The factor of the norm in front of the lane's row of a tile of x, whose four lanes share the
// parts.
__device__ inline float NormFactor(const StreamTask& task, int row) {
  const auto* const parts = reinterpret_cast<const float4*>(
      task.norm.squares + min(row, task.rows - 1) * task.norm.stride);
  constexpr int kQuads = 5;  // on their way together: all, where two blocks share a sum
  float sum = 0;
  for (int first = 0; first < task.norm.parts / 4; first += 4 * kQuads) {
    float4 v[kQuads];
#pragma unroll
    for (int q = 0; q < kQuads; ++q) {
      const int i = first + static_cast<int>(threadIdx.x) % 4 + 4 * q;
      v[q] = i < task.norm.parts / 4 ? parts[i] : float4{0, 0, 0, 0};
    }
#pragma unroll
    for (int q = 0; q < kQuads; ++q) sum += v[q].x + v[q].y + v[q].z + v[q].w;
  }
  sum += __shfl_xor_sync(~0u, sum, 1);
  sum += __shfl_xor_sync(~0u, sum, 2);
  return rsqrtf(sum / static_cast<float>(task.cols) + task.norm.eps);
}

// By all warps of the block that adds to `out`.
__device__ inline void LoadFactors(const StreamTask& task, const Share& share, float* factors) {
  if (!task.add || share.rank != 0) return;
  for (int row = threadIdx.x / 32; row < task.rows; row += kWarps) {
    const float factor = FactorOf(task.factors, row);
    if (threadIdx.x % 32 == 0) factors[row] = factor;
  }
}

// The share's way through shared memory.
template <class T>
struct Stream {
  const Share& share;
  const T* w;  // the share's first row, first column
  int64_t cols;
  unsigned char* ring;
  uint64_t* arrived;
  uint64_t policy;

  __device__ Stream(const StreamTask& task, const Share& share, unsigned char* ring,
                    uint64_t* arrived)
      : share(share),
        w(static_cast<const T*>(task.w) + int64_t{share.begin} * task.cols + share.column()),
        cols(task.cols),
        ring(ring),
        arrived(arrived),
        policy(ReadOncePolicy()) {}

  // By one warp: the first tiles, and then another one behind each that all have read.
  __device__ void Begin() const {
    if (threadIdx.x % 32 == 0) {
      for (int stage = 0; stage < kStages; ++stage) InitArrival(arrived + stage);
      PublishArrivals();
    }
    __syncwarp();
    for (int tile = 0; tile < kStages; ++tile) Fill(tile);
  }
  __device__ void Fill(int tile) const {
    const int lane = threadIdx.x % 32;
    const int rows = min(kRows, share.count - tile * kRows);
    if (rows <= 0) return;
    uint64_t* const barrier = arrived + tile % kStages;
    const auto bytes = static_cast<uint32_t>(share.columns * sizeof(T));
    if (lane == 0) ExpectBytes(barrier, rows * bytes);
    __syncwarp();
    if (lane < rows) {
      CopyBulk(Place(tile) + lane * PitchOf(share.columns),
               w + (int64_t{tile} * kRows + lane) * cols, bytes, barrier, policy);
    }
    __syncwarp();
  }
  __device__ const unsigned char* Await(int tile) const {
    AwaitArrival(arrived + tile % kStages, tile / kStages % 2);
    __syncwarp();
    return Place(tile);
  }
  __device__ unsigned char* Place(int tile) const {
    return ring + tile % kStages * kRows * PitchOf(share.columns);
  }
};

// A warp's columns of x, for all its rows, as operands.
template <int kTiles, class T, class X>
struct Held {
  int first;  // step
  int steps;
  uint4 x[kTiles][kSteps];

  __device__ explicit Held(const Share& share) {
    const int warp = threadIdx.x / 32;
    const int all = share.columns / kColumns;
    first = warp * all / kWarps;
    steps = (warp + 1) * all / kWarps - first;
  }
  __device__ int column() const { return first * kColumns + threadIdx.x % 4 * 8; }
  // The warp's columns of the norm's weight, before the launch that makes x has ended.
  __device__ void LoadNormWeight(const StreamTask& task, const Share& share, float* weight) const {
    for (int i = threadIdx.x % 32; i < steps * kColumns; i += 32) {
      const int c = first * kColumns + i;
      weight[c] = task.norm.weight != nullptr ? task.norm.weight[share.column() + c] : 1.0f;
    }
    __syncwarp();
  }
  __device__ void LoadNormed(const StreamTask& task, const Share& share, const float* weight) {
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
      const int row = 8 * tile + threadIdx.x % 32 / 4;
      const bool there = row < task.rows;
      const float* const from =
          static_cast<const float*>(task.x) + row * task.x_stride + share.column();
      float4 raw[kSteps][2];
#pragma unroll
      for (int s = 0; s < kSteps; ++s) {
        raw[s][0] = raw[s][1] = {0, 0, 0, 0};
        if (!there || s >= steps) continue;
        const auto* const at = reinterpret_cast<const float4*>(from + column() + s * kColumns);
        raw[s][0] = at[0];
        raw[s][1] = at[1];
      }
      const float factor = NormFactor(task, row);
#pragma unroll
      for (int s = 0; s < kSteps; ++s) {
        x[tile][s] = make_uint4(0, 0, 0, 0);
        if (s >= steps) continue;
        const auto* const w = reinterpret_cast<const float4*>(weight + column() + s * kColumns);
        x[tile][s] = Round8<T>(Scaled(raw[s][0], factor, w[0]), Scaled(raw[s][1], factor, w[1]));
      }
    }
  }
  __device__ void Load(const StreamTask& task, const Share& share) {
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
      const int row = 8 * tile + threadIdx.x % 32 / 4;
      const bool there = row < task.rows;
      const X* const from = static_cast<const X*>(task.x) + row * task.x_stride;
#pragma unroll
      for (int s = 0; s < kSteps; ++s) {
        const int c = share.column() + column() + s * kColumns;
        x[tile][s] = make_uint4(0, 0, 0, 0);
        if (there && s < steps) x[tile][s] = LoadX<T>(from + c);
      }
    }
  }
  // Two sums side by side: a product waits for the one before it.
  __device__ void Multiply(const unsigned char* tile, int pitch,
                           float (&sum)[(kTiles + 1) / 2][2][4]) const {
    const unsigned char* const row =
        tile + threadIdx.x % 32 / 4 * pitch + column() * static_cast<int>(sizeof(T));
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
      if (s >= steps) continue;
      const uint4 w = *reinterpret_cast<const uint4*>(row + s * kColumns * sizeof(T));
#pragma unroll
      for (int t = 0; t < kTiles; t += 2) {
        const uint4 a = x[t][s];
        const uint4 b = t + 1 < kTiles ? x[t + 1 < kTiles ? t + 1 : t][s] : make_uint4(0, 0, 0, 0);
        MultiplyAdd<T>(sum[t / 2][0], {a.x, b.x, a.y, b.y}, w.x, w.y);
        MultiplyAdd<T>(sum[t / 2][1], {a.z, b.z, a.w, b.w}, w.z, w.w);
      }
    }
  }
};

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

#endif  // PITH_BACKENDS_CUDA_STREAMED_PRODUCT_CUH_
