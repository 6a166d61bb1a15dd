// One block of four warps takes one head of one segment through its chunks, one after the other,
// with the state in registers: it never meets memory between chunks, and no pass over chunk states
// is needed. A warp owns 16 of the head's 64 channels: their input, their rows of the state
// (transposed, so that an accumulator is at once the second operand of C · S), and their output.
// C Bᵀ, which all heads of a group share, is made once for them; a chunk's m, which all channels of
// a head share, crosses warps. Shared memory of a block is 54 KB, so that
// four blocks on a multiprocessor hide each other's loads; and loops over a chunk's parts stay
// loops where registers allow it, because straight code outgrows the instruction cache.
#include <algorithm>

#include "backends/cuda/launch.cuh"
#include "backends/cuda/mamba2_scan.cuh"
#include "backends/cuda/tensor_core.cuh"

namespace pith::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kTile = 16;                    // rows and columns of a product's tile
constexpr int kBlocks = kScanChunk / kTile;  // tiles in a chunk
constexpr int kPast = kScanTaps - 1;
constexpr int kBcStride = kScanState + 8;  // rows of shared tiles: no two rows of eight meet
constexpr int kXStride = kScanHead + 8;    // in a bank
constexpr float kLog2E = 1.4426950408889634f;

// All that the kernels read, by value.
template <class T>
struct Task {
  const T* proj;
  int64_t stride;
  T* bc;
  float2*
      steps;  // [heads, rows]: Δ, and the sum of Δ a log₂e from the chunk's first row to this one
  int64_t rows;
  float4*
      cb;  // [ChunkIndex, groups, kTiles, 2, 32]: tiles of C Bᵀ as the lanes of a warp hold them
  T* gated;
  float* squares;
  float* kept_conv;
  float* kept_y;
  const float* conv_weight;
  const float* conv_bias;
  float* conv_states;
  int64_t conv_stride;
  float* states;
  int64_t state_stride;
  const Segment* segments;
  const int32_t* slots;
  const float* dt_bias;
  const float* a;
  const float* d;
  const float* norm_weight;
  float dt_min;
  float dt_max;
  int heads;
  int groups;
  bool d_has_hdim;
  bool norm_before_gate;

  __host__ __device__ int64_t inner() const { return int64_t{heads} * kScanHead; }
  __host__ __device__ int64_t bc_width() const { return int64_t{2} * groups * kScanState; }
  __host__ __device__ int64_t channels() const { return inner() + bc_width(); }
};

template <class T>
struct Shared {
  T b[kScanChunk][kBcStride];
  T c[kScanChunk][kBcStride];
  T x[kScanChunk + kPast][kXStride];  // raw inputs, the past ones first; then convolved, then y
  T m[kScanChunk][kXStride];          // C Bᵀ with decay and Δ, zero above the diagonal
  float conv_weight[kScanTaps][kScanHead];
  float conv_bias[kScanHead];
  float norm_weight[kScanHead];
  float d[kScanHead];
  alignas(16) float2 steps[kScanChunk];  // as Task's; behind the last row Δ = 0 and the last sum
  float write[kScanChunk];               // Δ with the decay to the chunk's end
  float squares[kThreads / 32][kScanChunk];
};

__device__ inline float Exp2(float v) {
  float r;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(v));
  return r;
}

// v / (1 + e^−v) by the approximate reciprocal, whose error is far below 16 bits.
__device__ inline float FastSilu(float v) {
  float r;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(1 + Exp2(-kLog2E * v)));
  return v * r;
}

// ---- B and C through the convolution, for all heads at once.

constexpr int kConvRows = 32;  // rows a block

template <class T>
__global__ void ConvolveBc(Task<T> task) {
  const Segment segment = task.segments[blockIdx.y];
  const int64_t first = int64_t{blockIdx.x} * kConvRows;
  if (first >= segment.count) return;
  const int rows = static_cast<int>(min(int64_t{kConvRows}, segment.count - first));
  const int64_t inner = task.inner();
  const float* const past = task.conv_states + task.slots[blockIdx.y] * task.conv_stride + inner;
  for (int j = 2 * threadIdx.x; j < task.bc_width(); j += 2 * blockDim.x) {
    const T* const column = task.proj + segment.begin * task.stride + 2 * inner + j;
    const auto load = [&](int64_t t) {
      if (t >= 0) return Unpack<T>(*reinterpret_cast<const uint32_t*>(column + t * task.stride));
      const float* const old = past + (t + kPast) * task.channels() + j;
      return make_float2(old[0], old[1]);
    };
    float2 weight[kScanTaps], window[kScanTaps], bias{0, 0};
    for (int k = 0; k < kScanTaps; ++k) {
      weight[k] = {task.conv_weight[(inner + j) * kScanTaps + k],
                   task.conv_weight[(inner + j + 1) * kScanTaps + k]};
    }
    if (task.conv_bias != nullptr)
      bias = {task.conv_bias[inner + j], task.conv_bias[inner + j + 1]};
    for (int k = 0; k < kPast; ++k) window[k + 1] = load(first - kPast + k);
    for (int r = 0; r < rows; ++r) {
      for (int k = 0; k < kPast; ++k) window[k] = window[k + 1];
      window[kPast] = load(first + r);
      float2 sum = bias;
      for (int k = 0; k < kScanTaps; ++k) {
        sum.x = fmaf(weight[k].x, window[k].x, sum.x);
        sum.y = fmaf(weight[k].y, window[k].y, sum.y);
      }
      const float2 out{FastSilu(sum.x), FastSilu(sum.y)};
      const int64_t row = segment.begin + first + r;
      *reinterpret_cast<uint32_t*>(task.bc + row * task.bc_width() + j) = Pack<T>(out.x, out.y);
      if (task.kept_conv != nullptr) {
        float* const kept = task.kept_conv + row * task.channels() + inner + j;
        kept[0] = out.x;
        kept[1] = out.y;
      }
    }
  }
}

// ---- Δ and its running sums within chunks.

constexpr int kStepHeads = 32;  // a block

template <class T>
__global__ void ScanSteps(Task<T> task) {
  __shared__ float tile[kScanChunk][kStepHeads + 1];
  const Segment segment = task.segments[blockIdx.y];
  const int64_t first = int64_t{blockIdx.x} * kScanChunk;
  if (first >= segment.count) return;
  const int rows = static_cast<int>(min(int64_t{kScanChunk}, segment.count - first));
  const int first_head = blockIdx.z * kStepHeads;
  const int heads = min(kStepHeads, task.heads - first_head);
  const T* const dt = task.proj + (segment.begin + first) * task.stride + task.inner() +
                      task.channels() + first_head;
  for (int i = threadIdx.x; i < rows * kStepHeads; i += kThreads) {
    const int t = i / kStepHeads, h = i % kStepHeads;
    if (h < heads) tile[t][h] = static_cast<float>(dt[t * task.stride + h]);
  }
  __syncthreads();
  const int lane = threadIdx.x % 32;
  for (int h = threadIdx.x / 32; h < heads; h += kThreads / 32) {
    const float bias = task.dt_bias[first_head + h];
    const float a = task.a[first_head + h] * kLog2E;
    float delta[2] = {0, 0};
    for (int i = 0; i < 2; ++i) {
      const int t = 2 * lane + i;
      if (t < rows) delta[i] = fminf(fmaxf(Softplus(tile[t][h] + bias), task.dt_min), task.dt_max);
    }
    float sum = (delta[0] + delta[1]) * a;
    for (int offset = 1; offset < 32; offset *= 2) {
      const float other = __shfl_up_sync(~0u, sum, offset);
      if (lane >= offset) sum += other;
    }
    float2* const out = task.steps + (first_head + h) * task.rows + segment.begin + first;
    if (2 * lane < rows) out[2 * lane] = {delta[0], sum - delta[1] * a};
    if (2 * lane + 1 < rows) out[2 * lane + 1] = {delta[1], sum};
  }
}

// The rows of a tile: each thread copies the same 16 bytes of rows kStep
// apart. Rows that are not in [from, to) become zeros.
template <int kRows, int kCols, class T>
__device__ void StartTile(T* tile, int tile_stride, const T* source, int64_t stride, int from,
                          int to) {
  constexpr int kPieces = kCols / 8;
  constexpr int kStep = kThreads / kPieces;
  const int first = threadIdx.x / kPieces;
  const int column = threadIdx.x % kPieces * 8;
  const T* read = source + first * stride + column;
  T* write = tile + first * tile_stride + column;
#pragma unroll
  for (int row = 0; row < kRows; row += kStep) {
    const int r = row + first;
    if (row + kStep <= kRows || r < kRows) {
      const bool valid = r >= from && r < to;
      CopyAsync(write, valid ? read : source + from * stride, valid);
    }
    read += kStep * stride;
    write += kStep * tile_stride;
  }
}

// ---- C Bᵀ.

constexpr int kTiles = kBlocks * (kBlocks + 1) / 2;
// The tiles of m on and below its diagonal, counted row by row: warp w makes those from
// kFirstTile[w] on.
__device__ constexpr int kFirstTile[] = {0, 2, 5, 8, 10};
__device__ constexpr int kTileRow[] = {0, 1, 1, 2, 2, 2, 3, 3, 3, 3};

// A number for each chunk of any segment, where segments lie one after the other.
__host__ __device__ inline int64_t ChunkIndex(const Segment& segment, int64_t which,
                                              int64_t chunk) {
  return segment.begin / kScanChunk + which + chunk;
}

template <class T>
__device__ float4* TilesOf(const Task<T>& task, int64_t chunk, int group) {
  return task.cb + ((chunk * task.groups + group) * kTiles) * 64;
}

template <class T>
__global__ void __launch_bounds__(kThreads) MultiplyCb(Task<T> task) {
  extern __shared__ __align__(16) unsigned char memory[];
  T(&b)[kScanChunk][kBcStride] = *reinterpret_cast<T(*)[kScanChunk][kBcStride]>(memory);
  T(&c)[kScanChunk][kBcStride] = *reinterpret_cast<T(*)[kScanChunk][kBcStride]>(memory + sizeof(b));
  const Segment segment = task.segments[blockIdx.y];
  const int64_t first = int64_t{blockIdx.x} * kScanChunk;
  if (first >= segment.count) return;
  const int rows = static_cast<int>(min(int64_t{kScanChunk}, segment.count - first));
  const T* const from =
      task.bc + (segment.begin + first) * task.bc_width() + blockIdx.z * kScanState;
  StartTile<kScanChunk, kScanState>(&b[0][0], kBcStride, from, task.bc_width(), 0, rows);
  StartTile<kScanChunk, kScanState>(&c[0][0], kBcStride, from + task.bc_width() / 2,
                                    task.bc_width(), 0, rows);
  CommitCopies();
  AwaitCopies<0>();
  __syncthreads();
  float4* const out = TilesOf(task, ChunkIndex(segment, blockIdx.y, blockIdx.x), blockIdx.z);
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;
  for (int tile = kFirstTile[warp]; tile < kFirstTile[warp + 1]; ++tile) {
    const int row = kTileRow[tile];
    const int block = tile - row * (row + 1) / 2;
    float sums[2][4] = {};
#pragma unroll
    for (int n = 0; n < kScanState; n += kTile) {
      uint32_t x[4], y[4];
      LoadTiles(x, &c[row * kTile + lane % 16][n + lane / 16 * 8]);
      // Tiles: rows 0 … 7 with columns n …, n + 8 …, then rows 8 … 15 with both.
      LoadTiles(y, &b[block * kTile + lane / 16 * 8 + lane % 8][n + lane / 8 % 2 * 8]);
      MultiplyAdd<T>(sums[0], x, y[0], y[1]);
      MultiplyAdd<T>(sums[1], x, y[2], y[3]);
    }
    for (int j = 0; j < 2; ++j) {
      out[tile * 64 + j * 32 + lane] = {sums[j][0], sums[j][1], sums[j][2], sums[j][3]};
    }
  }
}

// ---- The scan.

// The chunk that a block works on.
struct Place {
  int head;
  int64_t begin;  // the segment's first row
  int64_t count;  // its rows
  int64_t first;  // the chunk's first row, counted from begin
  int rows;       // of the chunk
};

template <class T>
__device__ void LoadConstants(const Task<T>& task, int head, Shared<T>& shared) {
  for (int i = threadIdx.x; i < kScanHead; i += kThreads) {
    const int64_t channel = int64_t{head} * kScanHead + i;
    for (int k = 0; k < kScanTaps; ++k) {
      shared.conv_weight[k][i] = task.conv_weight[channel * kScanTaps + k];
    }
    shared.conv_bias[i] = task.conv_bias != nullptr ? task.conv_bias[channel] : 0;
    shared.norm_weight[i] = task.norm_weight != nullptr ? task.norm_weight[channel] : 1;
    shared.d[i] = task.d[task.d_has_hdim ? channel : head];
  }
}

// B, C and raw x of a chunk on their way into shared memory; zeros after the segment's end.
template <class T>
__device__ void StartLoads(const Task<T>& task, const Place& place, const float* past,
                           Shared<T>& shared) {
  const int64_t begin = place.begin + place.first;
  const T* const bc =
      task.bc + begin * task.bc_width() + place.head / (task.heads / task.groups) * kScanState;
  StartTile<kScanChunk, kScanState>(&shared.b[0][0], kBcStride, bc, task.bc_width(), 0, place.rows);
  StartTile<kScanChunk, kScanState>(&shared.c[0][0], kBcStride, bc + task.bc_width() / 2,
                                    task.bc_width(), 0, place.rows);
  const T* const x =
      task.proj + (begin - kPast) * task.stride + task.inner() + place.head * kScanHead;
  const int from = place.first == 0 ? kPast : 0;
  StartTile<kScanChunk + kPast, kScanHead>(&shared.x[0][0], kXStride, x, task.stride, from,
                                           place.rows + kPast);
  if (threadIdx.x < kScanChunk) {
    const bool valid = threadIdx.x < place.rows;
    const float2* const steps = task.steps + place.head * task.rows + begin;
    CopyAsync8(&shared.steps[threadIdx.x], steps + (valid ? threadIdx.x : 0), valid);
    // What the next chunk and this one's gate read comes from memory to the L2 meanwhile.
    const int64_t next = place.first + kScanChunk + threadIdx.x;
    if (next < place.count) Prefetch(x + (kPast + kScanChunk + threadIdx.x) * task.stride);
    if (valid) {
      Prefetch(task.proj + (begin + threadIdx.x) * task.stride + place.head * kScanHead);
    }
  }
  CommitCopies();
  if (place.first > 0) return;
  AwaitCopies<0>();  // the zeros before the first row come first
  __syncthreads();
  for (int i = threadIdx.x; i < kPast * kScanHead; i += kThreads) {
    shared.x[i / kScanHead][i % kScanHead] =
        T(past[i / kScanHead * task.channels() + place.head * kScanHead + i % kScanHead]);
  }
}

// x ← silu(convolution), in place, of the warp's 16 channels: lane l takes two of them in 18 rows
// (the last ones in 10), so that no two lanes meet in a bank.
template <bool kKeep, class T>
__device__ void ConvolveX(const Task<T>& task, const Place& place, Shared<T>& shared) {
  const int lane = threadIdx.x % 32;
  const int c = threadIdx.x / 32 * kTile + lane % 8 * 2;
  constexpr int kRows = 18;
  const int first = lane / 8 * kRows;
  const auto at = [&](int row) -> uint32_t& {
    return *reinterpret_cast<uint32_t*>(&shared.x[row][c]);
  };
  float2 weight[kScanTaps], window[kScanTaps];
#pragma unroll
  for (int k = 0; k < kScanTaps; ++k) {
    weight[k] = *reinterpret_cast<const float2*>(&shared.conv_weight[k][c]);
  }
  const float2 bias = *reinterpret_cast<const float2*>(&shared.conv_bias[c]);
#pragma unroll
  for (int k = 0; k < kPast; ++k) window[k + 1] = Unpack<T>(at(first + k));
  __syncwarp();  // the rows before a lane's own are another lane's, which is about to change them
#pragma unroll 6
  for (int r = first; r < first + kRows; ++r) {
    if (r >= kScanChunk) break;
#pragma unroll
    for (int k = 0; k < kPast; ++k) window[k] = window[k + 1];
    window[kPast] = Unpack<T>(at(kPast + r));
    float2 sum = bias;
#pragma unroll
    for (int k = 0; k < kScanTaps; ++k) {
      sum.x = fmaf(weight[k].x, window[k].x, sum.x);
      sum.y = fmaf(weight[k].y, window[k].y, sum.y);
    }
    sum = {FastSilu(sum.x), FastSilu(sum.y)};
    at(kPast + r) = Pack<T>(sum.x, sum.y);
    if (kKeep && r < place.rows) {
      float* const kept = task.kept_conv + (place.begin + place.first + r) * task.channels() +
                          place.head * kScanHead + c;
      kept[0] = sum.x;
      kept[1] = sum.y;
    }
  }
  __syncwarp();
}

__device__ void LoadTile(const float4* cb, int tile, float4 (&out)[2]) {
  for (int j = 0; j < 2; ++j) out[j] = __ldg(cb + tile * 64 + j * 32 + threadIdx.x % 32);
}

// What WriteState needs: rows behind the last one get its sum, since they change nothing.
template <class T>
__device__ void PrepareWrites(const Place& place, Shared<T>& shared) {
  const int t = threadIdx.x;
  if (t >= kScanChunk) return;
  const float total = shared.steps[place.rows - 1].y;
  if (t >= place.rows) shared.steps[t] = {0, total};
  shared.write[t] = t < place.rows ? shared.steps[t].x * Exp2(total - shared.steps[t].y) : 0;
}

// m[t, s] = (C Bᵀ)[t, s] · exp(Σ Δ a over (s, t]) · Δ_s for s ≤ t, 0 above the diagonal. `cb`: the
// chunk's tiles; the warp's first one is in `next`.
template <class T>
__device__ void MakeM(const float4* cb, float4 (&next)[2], Shared<T>& shared) {
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;
#pragma unroll 1
  for (int tile = kFirstTile[warp]; tile < kFirstTile[warp + 1]; ++tile) {
    const float4 now[2] = {next[0], next[1]};
    if (tile + 1 < kFirstTile[warp + 1]) LoadTile(cb, tile + 1, next);
    const int row = kTileRow[tile];
    const int t = row * kTile + lane / 4;
    const float early = shared.steps[t].y, late = shared.steps[t + 8].y;
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const int s = (tile - row * (row + 1) / 2) * kTile + 8 * j + lane % 4 * 2;
      const float4 steps = *reinterpret_cast<const float4*>(&shared.steps[s]);  // Δ, sum; twice
      const auto decayed = [&](float product, float sum, int at, float delta, float before,
                               int of) {
        return of > at ? 0 : product * Exp2(sum - before) * delta;
      };
      const float4 v{decayed(now[j].x, early, t, steps.x, steps.y, s),
                     decayed(now[j].y, early, t, steps.z, steps.w, s + 1),
                     decayed(now[j].z, late, t + 8, steps.x, steps.y, s),
                     decayed(now[j].w, late, t + 8, steps.z, steps.w, s + 1)};
      *reinterpret_cast<uint32_t*>(&shared.m[t][s]) = Pack<T>(v.x, v.y);
      *reinterpret_cast<uint32_t*>(&shared.m[t + 8][s]) = Pack<T>(v.z, v.w);
    }
  }
}

// Accumulators of a warp: its 16 channels' output over the chunk, and its part of the state.
using Output = float[kBlocks][2][4];
using State = float[kScanState / 8][4];  // Sᵀ [16 channels, 128]

// y[t] = exp(Σ Δ a up to t) · C_t · S.
template <class T>
__device__ void ReadState(const Shared<T>& shared, const State& state, Output& y) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int k = 0; k < kScanState / kTile; ++k) {
    const uint32_t low[2] = {Pack<T>(state[2 * k][0], state[2 * k][1]),
                             Pack<T>(state[2 * k + 1][0], state[2 * k + 1][1])};
    const uint32_t high[2] = {Pack<T>(state[2 * k][2], state[2 * k][3]),
                              Pack<T>(state[2 * k + 1][2], state[2 * k + 1][3])};
#pragma unroll
    for (int i = 0; i < kBlocks; ++i) {
      uint32_t a[4];
      LoadTiles(a, &shared.c[i * kTile + lane % 16][k * kTile + lane / 16 * 8]);
      MultiplyAdd<T>(y[i][0], a, low[0], low[1]);
      MultiplyAdd<T>(y[i][1], a, high[0], high[1]);
    }
  }
#pragma unroll
  for (int i = 0; i < kBlocks; ++i) {
    const float upper = Exp2(shared.steps[i * kTile + lane / 4].y);
    const float lower = Exp2(shared.steps[i * kTile + lane / 4 + 8].y);
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      y[i][j][0] *= upper;
      y[i][j][1] *= upper;
      y[i][j][2] *= lower;
      y[i][j][3] *= lower;
    }
  }
}

// y += m · x.
template <class T>
__device__ void ReadChunk(const Shared<T>& shared, Output& y) {
  const int lane = threadIdx.x % 32;
  const int p = threadIdx.x / 32 * kTile;
#pragma unroll 1
  for (int k = 0; k < kBlocks; ++k) {
    uint32_t b[4];
    LoadTilesTransposed(b, &shared.x[kPast + k * kTile + lane % 16][p + lane / 16 * 8]);
#pragma unroll
    for (int i = 0; i < kBlocks; ++i) {
      if (i < k) continue;
      uint32_t a[4];
      LoadTiles(a, &shared.m[i * kTile + lane % 16][k * kTile + lane / 16 * 8]);
      MultiplyAdd<T>(y[i][0], a, b[0], b[1]);
      MultiplyAdd<T>(y[i][1], a, b[2], b[3]);
    }
  }
}

// y += d · x.
template <class T>
__device__ void AddSkip(const Shared<T>& shared, Output& y) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int j = 0; j < 2; ++j) {
    const int p = threadIdx.x / 32 * kTile + 8 * j + lane % 4 * 2;
    const float2 d = *reinterpret_cast<const float2*>(&shared.d[p]);
#pragma unroll
    for (int i = 0; i < kBlocks; ++i) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const int t = i * kTile + lane / 4 + 8 * r;
        const float2 x = Unpack<T>(*reinterpret_cast<const uint32_t*>(&shared.x[kPast + t][p]));
        y[i][j][2 * r] = fmaf(d.x, x.x, y[i][j][2 * r]);
        y[i][j][2 * r + 1] = fmaf(d.y, x.y, y[i][j][2 * r + 1]);
      }
    }
  }
}

// S ← exp(Σ Δ a over the chunk) · S + Σ_t write_t · x_t B_tᵀ.
template <class T>
__device__ void WriteState(const Shared<T>& shared, State& state) {
  const int lane = threadIdx.x % 32;
  const int p = threadIdx.x / 32 * kTile;
  const float decay = Exp2(shared.steps[kScanChunk - 1].y);
#pragma unroll
  for (int j = 0; j < kScanState / 8; ++j) {
#pragma unroll
    for (int e = 0; e < 4; ++e) state[j][e] *= decay;
  }
#pragma unroll 1
  for (int k = 0; k < kBlocks; ++k) {
    // x transposed: rows of the tile are channels.
    uint32_t a[4];
    LoadTilesTransposed(
        a, &shared.x[kPast + k * kTile + lane / 16 * 8 + lane % 8][p + lane / 8 % 2 * 8]);
    const int t = k * kTile + lane % 4 * 2;
    const uint32_t early = Pack<T>(shared.write[t], shared.write[t + 1]);
    const uint32_t late = Pack<T>(shared.write[t + 8], shared.write[t + 9]);
    a[0] = Multiply<T>(a[0], early);
    a[1] = Multiply<T>(a[1], early);
    a[2] = Multiply<T>(a[2], late);
    a[3] = Multiply<T>(a[3], late);
#pragma unroll
    for (int n = 0; n < kScanState; n += kTile) {
      uint32_t b[4];
      LoadTilesTransposed(b, &shared.b[k * kTile + lane % 16][n + lane / 16 * 8]);
      MultiplyAdd<T>(state[n / 8], a, b[0], b[1]);
      MultiplyAdd<T>(state[n / 8 + 1], a, b[2], b[3]);
    }
  }
}

// The warp's y into its columns of x, rounded.
template <class T>
__device__ void StoreOutput(const Output& y, Shared<T>& shared) {
  const int lane = threadIdx.x % 32;
  __syncwarp();
#pragma unroll
  for (int i = 0; i < kBlocks; ++i) {
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const int p = threadIdx.x / 32 * kTile + 8 * j + lane % 4 * 2;
      const int t = kPast + i * kTile + lane / 4;
      *reinterpret_cast<uint32_t*>(&shared.x[t][p]) = Pack<T>(y[i][j][0], y[i][j][1]);
      *reinterpret_cast<uint32_t*>(&shared.x[t + 8][p]) = Pack<T>(y[i][j][2], y[i][j][3]);
    }
  }
  __syncwarp();
}

template <class T>
__device__ uint4 LoadGate(const Task<T>& task, const Place& place, int t, int p) {
  if (t >= place.rows) return make_uint4(0, 0, 0, 0);
  return __ldcs(reinterpret_cast<const uint4*>(
      task.proj + (place.begin + place.first + t) * task.stride + place.head * kScanHead + p));
}

// Gate, norm weight and squares of the warp's 16 channels, 8 of a row a lane.
template <bool kKeep, class T>
__device__ void GateRows(const Task<T>& task, const Place& place, Shared<T>& shared) {
  const int lane = threadIdx.x % 32;
  const int w = threadIdx.x / 32;
  const int p = w * kTile + lane % 2 * 8;
  // Of 16 rows, such that no two of eight lanes meet in a bank.
  const int first = lane / 2 % 4 * 2 + lane / 8 % 2 + lane / 16 * 8;
  uint4 next = LoadGate(task, place, first, p);
#pragma unroll 1
  for (int i = 0; i < kBlocks; ++i) {
    const int t = i * kTile + first;
    const uint4 z = next;
    if (i + 1 < kBlocks) next = LoadGate(task, place, t + kTile, p);
    const uint4 y = *reinterpret_cast<const uint4*>(&shared.x[kPast + t][p]);
    uint4 out;
    float square = 0;
    float2 ys[4];
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      ys[e] = Unpack<T>(reinterpret_cast<const uint32_t*>(&y)[e]);
      const float2 gate = Unpack<T>(reinterpret_cast<const uint32_t*>(&z)[e]);
      const float2 silu{FastSilu(gate.x), FastSilu(gate.y)};
      const float2 v{ys[e].x * silu.x, ys[e].y * silu.y};
      const float2 normed = task.norm_before_gate ? ys[e] : v;
      square = fmaf(normed.x, normed.x, fmaf(normed.y, normed.y, square));
      reinterpret_cast<uint32_t*>(&out)[e] =
          Pack<T>(v.x * shared.norm_weight[p + 2 * e], v.y * shared.norm_weight[p + 2 * e + 1]);
    }
    square += __shfl_xor_sync(~0u, square, 1);
    if (lane % 2 == 0) shared.squares[w][t] = square;
    if (t >= place.rows) continue;
    const int64_t at = (place.begin + place.first + t) * task.inner() + place.head * kScanHead + p;
    *reinterpret_cast<uint4*>(task.gated + at) = out;
    if (kKeep) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        task.kept_y[at + 2 * e] = ys[e].x;
        task.kept_y[at + 2 * e + 1] = ys[e].y;
      }
    }
  }
}

// Where lane l's part of the state lies: channels p and p + 8, states 8 j + 2 (l % 4) and the next.
template <class Visit>
__device__ void VisitState(float* state, const Visit& visit) {
  const int lane = threadIdx.x % 32;
  const int p = threadIdx.x / 32 * kTile + lane / 4;
#pragma unroll
  for (int j = 0; j < kScanState / 8; ++j) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int n = 8 * j + lane % 4 * 2 + e % 2;
      visit(j, e, state[n * kScanHead + p + e / 2 * 8]);
    }
  }
}

// The last inputs of channels [from, from + count) become the convolution's state.
template <class T>
__device__ void StorePast(const Task<T>& task, const Segment& segment, float* past, int64_t from,
                          int count) {
  const T* const in = task.proj + task.inner();
  for (int64_t c = from + threadIdx.x; c < from + count; c += kThreads) {
    for (int k = 0; k < kPast; ++k) {
      const int64_t t = segment.count - kPast + k;
      past[k * task.channels() + c] =
          t >= 0 ? static_cast<float>(in[(segment.begin + t) * task.stride + c])
                 : past[(t + kPast) * task.channels() + c];
    }
  }
}

// kKeep: kept_conv and kept_y are there.
template <class T, bool kKeep>
__global__ void __launch_bounds__(kThreads, 4) ScanHeads(Task<T> task) {
  extern __shared__ __align__(16) unsigned char memory[];
  Shared<T>& shared = *reinterpret_cast<Shared<T>*>(memory);
  const int head = blockIdx.x;
  const Segment segment = task.segments[blockIdx.y];
  const int64_t slot = task.slots[blockIdx.y];
  float* const past = task.conv_states + slot * task.conv_stride;
  float* const stored =
      task.states + slot * task.state_stride + int64_t{head} * kScanState * kScanHead;
  LoadConstants(task, head, shared);
  State state;
  VisitState(stored, [&](int j, int e, float& v) { state[j][e] = v; });
  for (int64_t first = 0; first < segment.count; first += kScanChunk) {
    const int rows = static_cast<int>(min(int64_t{kScanChunk}, segment.count - first));
    const Place place{head, segment.begin, segment.count, first, rows};
    StartLoads(task, place, past, shared);
    AwaitCopies<0>();
    __syncthreads();
    PrepareWrites(place, shared);
    const float4* const cb = TilesOf(task, ChunkIndex(segment, blockIdx.y, first / kScanChunk),
                                     head / (task.heads / task.groups));
    float4 tile[2];
    LoadTile(cb, kFirstTile[threadIdx.x / 32], tile);
    ConvolveX<kKeep>(task, place, shared);
    if (rows < kScanChunk) __syncthreads();  // PrepareWrites changed the steps
    MakeM(cb, tile, shared);
    Output y = {};
    ReadState(shared, state, y);
    __syncthreads();
    ReadChunk(shared, y);
    AddSkip(shared, y);
    WriteState(shared, state);
    StoreOutput(y, shared);
    GateRows<kKeep>(task, place, shared);
    __syncthreads();
    if (threadIdx.x < rows) {
      float sum = 0;
      for (int w = 0; w < kThreads / 32; ++w) sum += shared.squares[w][threadIdx.x];
      task.squares[(segment.begin + first + threadIdx.x) * task.heads + head] = sum;
    }
  }
  VisitState(stored, [&](int j, int e, float& v) { v = state[j][e]; });
  StorePast(task, segment, past, int64_t{head} * kScanHead, kScanHead);
  const int heads = task.heads / task.groups;
  if (head % heads == 0) {
    const int64_t b = task.inner() + int64_t{head / heads} * kScanState;
    StorePast(task, segment, past, b, kScanState);
    StorePast(task, segment, past, b + task.bc_width() / 2, kScanState);
  }
}

}  // namespace

template <class T>
void Mamba2Scan(const Exec& exec, const Mamba2ScanArgs<T>& args) {
  const SsdArgs& ssd = *args.ssd;
  int64_t longest = 0, chunks = 0, end = 0;
  for (size_t i = 0; i < ssd.segments.size(); ++i) {
    const Segment& segment = ssd.segments[i];
    PITH_CHECK(segment.begin >= end);  // for ChunkIndex
    end = segment.begin + segment.count;
    longest = std::max(longest, segment.count);
    chunks =
        ChunkIndex(segment, static_cast<int64_t>(i), (segment.count + kScanChunk - 1) / kScanChunk);
  }
  const Scratch<float2> steps(exec, ssd.n_heads * args.rows);
  const Scratch<float4> cb(exec, chunks * ssd.n_groups * kTiles * 64);
  const Task<T> task{.proj = args.proj,
                     .stride = args.stride,
                     .bc = args.bc,
                     .steps = steps.data(),
                     .rows = args.rows,
                     .cb = cb.data(),
                     .gated = args.gated,
                     .squares = args.squares,
                     .kept_conv = args.kept_conv,
                     .kept_y = args.kept_y,
                     .conv_weight = args.conv->weight.data,
                     .conv_bias = args.conv->bias.data,
                     .conv_states = args.conv->states.base,
                     .conv_stride = args.conv->states.stride,
                     .states = ssd.states.base,
                     .state_stride = ssd.states.stride,
                     .segments = cuda::Place(exec, ssd.segments),
                     .slots = cuda::Place(exec, ssd.states.slots),
                     .dt_bias = ssd.dt_bias.data,
                     .a = ssd.a.data,
                     .d = ssd.d.data,
                     .norm_weight = args.gate->norm_weight.data,
                     .dt_min = ssd.dt_min,
                     .dt_max = ssd.dt_max,
                     .heads = static_cast<int>(ssd.n_heads),
                     .groups = static_cast<int>(ssd.n_groups),
                     .d_has_hdim = ssd.d_has_hdim,
                     .norm_before_gate = args.gate->norm_before_gate};
  const auto segments = static_cast<unsigned>(ssd.segments.size());
  const auto pairs = static_cast<unsigned>(task.bc_width() / 2);
  Launch(exec, ConvolveBc<T>, dim3(Blocks(longest, kConvRows), segments), std::min(pairs, 256u), 0,
         task);
  Launch(exec, ScanSteps<T>,
         dim3(Blocks(longest, kScanChunk), segments, Blocks(task.heads, kStepHeads)), kThreads, 0,
         task);
  constexpr size_t kTilesBytes = sizeof(T) * 2 * kScanChunk * kBcStride;
  Launch(exec, MultiplyCb<T>, dim3(Blocks(longest, kScanChunk), segments, task.groups), kThreads,
         kTilesBytes, task);
  PITH_CHECK((task.kept_conv == nullptr) == (task.kept_y == nullptr));
  const auto kernel = task.kept_y != nullptr ? ScanHeads<T, true> : ScanHeads<T, false>;
  Launch(exec, kernel, dim3(task.heads, segments), kThreads, sizeof(Shared<T>), task);
}

template void Mamba2Scan(const Exec& exec, const Mamba2ScanArgs<__nv_bfloat16>& args);
template void Mamba2Scan(const Exec& exec, const Mamba2ScanArgs<__half>& args);

}  // namespace pith::cuda
