// What a streamed product is told, and how the weight passes through shared memory. The other parts
// of its kernel (streamed_product.cu) are streamed_rows.cuh and streamed_sums.cuh.
#ifndef PITH_BACKENDS_CUDA_STREAMED_PRODUCT_CUH_
#define PITH_BACKENDS_CUDA_STREAMED_PRODUCT_CUH_

#include "backends/cuda/bulk_copy.cuh"
#include "backends/cuda/launch.cuh"
#include "backends/cuda/tensor_core.cuh"
#include "ops/compact_rows.h"

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

#endif  // PITH_HAS_BULK_COPY

}  // namespace pith::cuda::stream

#endif  // PITH_BACKENDS_CUDA_STREAMED_PRODUCT_CUH_
