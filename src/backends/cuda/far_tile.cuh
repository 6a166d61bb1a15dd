// The tile that the kernels of far_states.cu share: 64 channels of in_proj over up to 128 far rows,
// by tensor cores, and what becomes of them in shared memory. The norm's weight is multiplied into
// in_proj's on the way from shared memory to the products.
#ifndef PITH_BACKENDS_CUDA_FAR_TILE_CUH_
#define PITH_BACKENDS_CUDA_FAR_TILE_CUH_

#include "backends/cuda/far_layers.cuh"
#include "backends/cuda/mamba2_scan_task.cuh"
#include "backends/cuda/tensor_core.cuh"

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
constexpr int kStages = 3;
constexpr int kPieces = kDepth / 8;  // of 16 bytes
constexpr int kLoadRows = kThreads / kPieces;
constexpr int kRawStride = kColumns + 8;  // no two rows of eight meet in a bank
constexpr int kBStride = kScanState + 8;
constexpr int kRowTiles = kRawRows / kTile;
constexpr int kMostTiles = (kRowTiles + 1) / 2;  // of a warp, which takes every other one
static_assert(kScanHead == kColumns && kScanState % kColumns == 0 && kScanTaps == kPast + 1);

// A block's shared memory: stages of operands, and in their place, once a tile is projected, what
// becomes of it.
template <class T>
struct Stage {
  T u[kRawRows * kDepth];
  T w[kColumns * kDepth];
};
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

// What a block projects: channels [channel, channel + 64) of a layer.
template <class T>
struct Channels {
  const Layer<T>* layer;
  int first;
};

// Rows [begin, begin + rows) of the far region; `joined`: the block's last tile ended at `begin`.
struct Tile {
  int begin;
  int rows;
  bool joined;
};

// Column `piece` · 8 of a row of a stage. Rows are 128 bytes, whose pieces are permuted so that no
// two of eight rows meet in a bank.
__device__ inline int At(int row, int piece) { return row * kDepth + (piece ^ (row & 7)) * 8; }

template <class T>
__device__ void LoadNorm(const Task<T>& task, const Layer<T>& layer, Shared<T>& shared) {
  const int end = (task.d_model + kDepth - 1) / kDepth * kDepth;
  for (int i = threadIdx.x; i < end; i += kThreads) {
    shared.norm_weight()[i] = i < task.d_model ? layer.norm_weight[i] : 0;
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
    u = task.u + first * stride + piece * 8;
    w = channels.layer->w + (int64_t{channels.first} + row) * stride + piece * 8;
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

template <class T>
__device__ uint32_t Fold(uint32_t w, float2 norm_weight) {
  const float2 v = Unpack<T>(w);
  return Pack<T>(v.x * norm_weight.x, v.y * norm_weight.y);
}

// Warp w takes 16 channels and every other tile of 16 rows: w % 4 and w / 4 say which.
template <class T>
__device__ void MultiplyStage(const Stage<T>& stage, const float* norm_weight, int begin, int end,
                              float (&sums)[kMostTiles][2][4]) {
  const int lane = threadIdx.x % 32;
  const int channel = threadIdx.x / 32 % 4 * kTile;
  const int odd = threadIdx.x / 32 / 4;
#pragma unroll
  for (int k = 0; k < kDepth / kTile; ++k) {
    uint32_t b[4];
    LoadTiles(b, &stage.w[At(channel + lane / 16 * 8 + lane % 8, 2 * k + lane / 8 % 2)]);
    const float* const factor = norm_weight + k * kTile + lane % 4 * 2;
    const float2 low = *reinterpret_cast<const float2*>(factor);
    const float2 high = *reinterpret_cast<const float2*>(factor + 8);
    b[0] = Fold<T>(b[0], low);
    b[1] = Fold<T>(b[1], high);
    b[2] = Fold<T>(b[2], low);
    b[3] = Fold<T>(b[3], high);
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
__device__ void StoreRaw(int begin, int end, const float (&sums)[kMostTiles][2][4],
                         Shared<T>& shared) {
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
        *reinterpret_cast<uint32_t*>(&shared.out.raw[r][channel + 8 * j]) = Pack<T>(a, b);
      };
      store(row, sums[m][j][0], sums[m][j][1]);
      store(row + 8, sums[m][j][2], sums[m][j][3]);
    }
  }
}

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
      raw = T(channels.layer->conv_state[(kPast + t) * task.channels() + channels.first + c]);
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
  float sums[kMostTiles][2][4] = {};
  __syncthreads();  // what the last tile left is read
#pragma unroll
  for (int k = 0; k < kStages - 1; ++k) {
    if (k < steps) loader.Start(k, task.d_model, shared.stages[k]);
    CommitCopies();
  }
  int now = 0;
  for (int k = 0; k < steps; ++k) {
    AwaitCopies<kStages - 2>();
    __syncthreads();
    const int next = now == 0 ? kStages - 1 : now - 1;
    if (k + kStages - 1 < steps) loader.Start(k + kStages - 1, task.d_model, shared.stages[next]);
    CommitCopies();
    MultiplyStage(shared.stages[now], shared.norm_weight() + k * kDepth, begin, end, sums);
    now = now + 1 == kStages ? 0 : now + 1;
  }
  AwaitCopies<0>();
  __syncthreads();
  StoreRaw(begin, end, sums, shared);
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
    weight[k] = {channels.layer->conv_weight[channel * kScanTaps + k],
                 channels.layer->conv_weight[(channel + 1) * kScanTaps + k]};
  }
  if (channels.layer->conv_bias != nullptr) {
    bias = {channels.layer->conv_bias[channel], channels.layer->conv_bias[channel + 1]};
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
  float* const state = channels.layer->conv_state + channels.first + c;
  for (int k = 0; k < kPast; ++k) {
    const int t = task.far - kPast + k;
    state[k * task.channels()] = t >= 0
                                     ? static_cast<float>(shared.out.raw[kTile + t - tile.begin][c])
                                     : state[(t + kPast) * task.channels()];
  }
}

}  // namespace pith::cuda::far

#endif  // PITH_BACKENDS_CUDA_FAR_TILE_CUH_
