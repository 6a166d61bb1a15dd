// The tile that the kernels of far_states.cu share: 64 channels of in_proj over up to 128 far rows,
// by tensor cores, and what becomes of them in shared memory. The norm's weight is multiplied into
// in_proj's on the way from shared memory to the products.
#ifndef PITH_BACKENDS_CUDA_FAR_TILE_CUH_
#define PITH_BACKENDS_CUDA_FAR_TILE_CUH_

#include "backends/cuda/far_layers.cuh"
#include "backends/cuda/far_product.cuh"
#include "backends/cuda/mamba2_scan_task.cuh"
#include "backends/cuda/tensor_core.cuh"

namespace pith::cuda::far {

constexpr int kStages = 3;
constexpr int kLoadRows = kThreads / kPieces;
constexpr int kBStride = kScanState + 8;
static_assert(kScanHead == kColumns && kScanState % kColumns == 0 && kScanTaps == kPast + 1);

// A block's shared memory: stages of operands, and in their place, once a tile is projected, what
// becomes of it.
template <class T>
struct Projected {
  T raw[kRawRows][kRawStride];
  T x[kRows][kRawStride];
  T b[kRows][kBStride];
};
template <class T>
struct Shared {
  union {
    Stage<T> stages[kStages];
    Projected<T> out;
  };
  T last[kPast][kColumns];  // raw rows before the tile, of the tile that it continues
  // [d_model], then zeros to a whole number of stages.
  __device__ float* norm_weight() { return reinterpret_cast<float*>(this + 1); }
};
static_assert(sizeof(Projected<__half>) <= kStages * sizeof(Stage<__half>));

// What a block projects: channels [channel, channel + 64) of a pair.
template <class T>
struct Channels {
  const LayerText<T>* pair;
  int first;
};

// Rows [begin, begin + rows) of the far region; `joined`: the block's last tile ended at `begin`.
struct Tile {
  int begin;
  int rows;
  bool joined;
};

template <class T>
__device__ void LoadNorm(const Task<T>& task, const LayerText<T>& pair, Shared<T>& shared) {
  const int end = (task.d_model + kDepth - 1) / kDepth * kDepth;
  for (int i = threadIdx.x; i < end; i += kThreads) {
    shared.norm_weight()[i] = i < task.d_model ? pair.norm_weight[i] : 0;
  }
}

// Brings stages: thread t copies piece t % 8 of the rows t / 8, t / 8 + 32, …
template <class T>
struct Loader {
  const T* u;
  const T* w;
  int64_t stride;
  int row, piece;
  unsigned used = 0, valid = 0;  // bits: the rows of u that products read; those that are there

  __device__ Loader(const Task<T>& task, const Channels<T>& channels, const Tile& tile)
      : stride(task.d_model), row(threadIdx.x / kPieces), piece(threadIdx.x % kPieces) {
    const int64_t first = int64_t{tile.begin} - kTile + row;
    u = channels.pair->u + first * stride + piece * 8;
    w = channels.pair->w + (int64_t{channels.first} + row) * stride + piece * 8;
    const int end = (kTile + tile.rows + kTile - 1) / kTile * kTile;
    for (int i = 0; row + i * kLoadRows < kRawRows; ++i) {
      const int r = row + i * kLoadRows;
      if (r < end && (!tile.joined || r >= kTile)) used |= 1u << i;
      if (r >= kRawBegin && r < kTile + tile.rows && first + i * kLoadRows >= 0) valid |= 1u << i;
    }
  }

  __device__ void Start(int step, int d_model, Stage<T>& stage) const {
    const int column = step * kDepth;
    const bool inside = column + piece * 8 < d_model;
    const int to = At(row, piece);
#pragma unroll
    for (int i = 0; i * kLoadRows < kRawRows; ++i) {
      if ((used >> i & 1) == 0) continue;
      const bool there = inside && (valid >> i & 1) != 0;
      CopyAsync(&stage.u[to + i * kLoadRows * kDepth],
                there ? u + i * kLoadRows * stride + column : w, there);
    }
#pragma unroll
    for (int i = 0; i * kLoadRows < kColumns; ++i) {
      CopyAsync(&stage.w[to + i * kLoadRows * kDepth],
                inside ? w + i * kLoadRows * stride + column : w, inside);
    }
  }
};

// The rows before the tile that no product gave: of the tile before, or of the convolution's state.
template <class T>
__device__ void PlacePast(const Task<T>& task, const Channels<T>& channels, const Tile& tile,
                          Shared<T>& shared) {
  for (int i = threadIdx.x; i < kPast * kColumns; i += kThreads) {
    const int k = i / kColumns, c = i % kColumns;
    T& raw = shared.out.raw[kRawBegin + k][c];
    const int t = tile.begin - kPast + k;
    if (tile.joined) {
      raw = shared.last[k][c];
    } else if (t < 0) {
      raw = T(channels.pair->conv_state[(kPast + t) * task.channels() + channels.first + c]);
    }
  }
}

// The tile's channels as in_proj gives them, and the kPast rows before, rounded, in shared.out.raw.
template <class T>
__device__ void Project(const Task<T>& task, const Channels<T>& channels, const Tile& tile,
                        Shared<T>& shared) {
  const int steps = (task.d_model + kDepth - 1) / kDepth;
  const int begin = tile.joined || tile.begin == 0 ? 1 : 0;
  const int end = (kTile + tile.rows + kTile - 1) / kTile;
  const Loader<T> loader(task, channels, tile);
  Sums sums = {};
  __syncthreads();  // what the last tile left is read
#pragma unroll
  for (int k = 0; k < kStages - 1; ++k) {
    if (k < steps) loader.Start(k, task.d_model, shared.stages[k]);
    CommitCopies();
  }
  int now = 0;
  for (int k = 0; k < steps; ++k) {
    AwaitCopies<kStages - 2>();
    FenceShared();
    __syncthreads();
    const int next = now == 0 ? kStages - 1 : now - 1;
    if (k + kStages - 1 < steps) loader.Start(k + kStages - 1, task.d_model, shared.stages[next]);
    CommitCopies();
    MultiplyStage(shared.stages[now], shared.norm_weight() + k * kDepth, begin, end, sums);
    now = now + 1 == kStages ? 0 : now + 1;
  }
  AwaitCopies<0>();
  __syncthreads();
  StoreRaw(begin, end, sums, shared.out.raw);
  __syncthreads();
  PlacePast(task, channels, tile, shared);
  __syncthreads();
}

// write(row, channel, two values) of the tile's rows behind convolution and SiLU; a warp takes 16
// rows, a lane two channels.
template <class T, class Write>
__device__ void Convolve(const Channels<T>& channels, const Tile& tile, const Shared<T>& shared,
                         const Write& write) {
  const int c = threadIdx.x % 32 * 2;
  const int64_t channel = channels.first + c;
  const int first = threadIdx.x / 32 * (kRows / kWarps);
  const int end = min(first + kRows / kWarps, tile.rows);
  if (first >= end) return;
  const auto raw = [&](int row) {
    return Unpack<T>(*reinterpret_cast<const uint32_t*>(&shared.out.raw[row][c]));
  };
  float2 weight[kScanTaps], window[kScanTaps], bias{0, 0};
#pragma unroll
  for (int k = 0; k < kScanTaps; ++k) {
    weight[k] = {channels.pair->conv_weight[channel * kScanTaps + k],
                 channels.pair->conv_weight[(channel + 1) * kScanTaps + k]};
  }
  if (channels.pair->conv_bias != nullptr) {
    bias = {channels.pair->conv_bias[channel], channels.pair->conv_bias[channel + 1]};
  }
#pragma unroll
  for (int k = 0; k < kPast; ++k) window[k + 1] = raw(kRawBegin + first + k);
#pragma unroll 4
  for (int r = first; r < end; ++r) {
#pragma unroll
    for (int k = 0; k < kPast; ++k) window[k] = window[k + 1];
    window[kPast] = raw(kTile + r);
    float2 sum = bias;
#pragma unroll
    for (int k = 0; k < kScanTaps; ++k) {
      sum.x = fmaf(weight[k].x, window[k].x, sum.x);
      sum.y = fmaf(weight[k].y, window[k].y, sum.y);
    }
    write(r, c, float2{scan::FastSilu(sum.x), scan::FastSilu(sum.y)});
  }
}

// The region's last inputs become the convolution's state; `tile` holds them. A thread a channel.
template <class T>
__device__ void KeepPast(const Task<T>& task, const Channels<T>& channels, const Tile& tile,
                         const Shared<T>& shared) {
  const int c = threadIdx.x;
  if (c >= kColumns) return;
  float* const state = channels.pair->conv_state + channels.first + c;
  for (int k = 0; k < kPast; ++k) {
    const int t = channels.pair->far - kPast + k;
    state[k * task.channels()] = t >= 0
                                     ? static_cast<float>(shared.out.raw[kTile + t - tile.begin][c])
                                     : state[(t + kPast) * task.channels()];
  }
}

}  // namespace pith::cuda::far

#endif  // PITH_BACKENDS_CUDA_FAR_TILE_CUH_
