// SelectiveScan: kLanesN lanes share a channel's state, which they hold in registers from a
// segment's first row to its last; tiles of rows come to shared memory while the tile before is
// read. A channel's sums have one order.
#include <cuda_pipeline.h>

#include "backends/cuda/kernels.h"
#include "backends/cuda/launch.cuh"

namespace pith::cuda {
namespace {

constexpr int kWarps = 4;
constexpr int kThreads = kWarps * 32;
constexpr int kTile = 32;   // rows
constexpr int kLanesN = 4;  // each has quads of d_state
constexpr int kQuads = 4 * kLanesN;
constexpr int kChannels = kThreads / kLanesN;  // of a block
static_assert(kChannels == 32);                // a warp sends a row of them

struct ScanView {
  Rows<const float> x, dt, b, c;
  Rows<float> y;
  const float* dt_bias;
  const float* a;
  const float* d;
  const Segment* segments;
  const int32_t* slots;
  float* states;
  int64_t state_stride;
  int64_t d_inner, d_state;
};

template <int kJ>
struct Tile {
  float b[kTile][kJ * kQuads];  // d_state, filled up with zeros
  float c[kTile][kJ * kQuads];
  float x[kTile][kChannels];
  float dt[kTile][kChannels];
};

// Sends the rows from `first` on; lanes and warps as in Prepare.
template <bool kOutput, int kJ>
__device__ void SendTile(const ScanView& args, const Segment& segment, int64_t first,
                         int64_t channel, Tile<kJ>& to) {
  const int lane = threadIdx.x % 32;
  for (int r = threadIdx.x / 32; r < kTile && first + r < segment.count; r += kWarps) {
    const int64_t row = segment.begin + first + r;
    for (int n = lane; n < args.d_state; n += 32) {
      __pipeline_memcpy_async(&to.b[r][n], args.b[row] + n, 4);
      if constexpr (kOutput) __pipeline_memcpy_async(&to.c[r][n], args.c[row] + n, 4);
    }
    if (channel + lane >= args.d_inner) continue;
    __pipeline_memcpy_async(&to.x[r][lane], args.x[row] + channel + lane, 4);
    __pipeline_memcpy_async(&to.dt[r][lane], args.dt[row] + channel + lane, 4);
  }
  __pipeline_commit();
}

// Waits for the rows from `first` on and makes Δ of the dt that this thread sent. Ends with a
// barrier.
template <int kJ>
__device__ void Prepare(const Segment& segment, int64_t first, float bias, Tile<kJ>& tile) {
  __pipeline_wait_prior(0);
  for (int r = threadIdx.x / 32; r < kTile && first + r < segment.count; r += kWarps) {
    float& dt = tile.dt[r][threadIdx.x % 32];
    dt = Softplus(dt + bias);
  }
  __syncthreads();
}

template <int kJ>
using Cells = float[kJ][4];

// One row of one channel; returns the lane's part of C S.
template <bool kOutput, int kJ>
__device__ float Step(const Tile<kJ>& tile, int r, int at, const Cells<kJ>& rate,
                      Cells<kJ>& cells) {
  const int lane = threadIdx.x % kLanesN * 4;
  const float dt = tile.dt[r][at];
  const float in = __fmul_rn(dt, tile.x[r][at]);
  float parts[4] = {};
#pragma unroll
  for (int j = 0; j < kJ; ++j) {
    const float4 b4 = *reinterpret_cast<const float4*>(&tile.b[r][j * kQuads + lane]);
    const float4 c4 = *reinterpret_cast<const float4*>(&tile.c[r][j * kQuads + lane]);
    const float b[4] = {b4.x, b4.y, b4.z, b4.w};
    const float c[4] = {c4.x, c4.y, c4.z, c4.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float decay = expf(__fmul_rn(dt, rate[j][i]));
      cells[j][i] = fmaf(decay, cells[j][i], __fmul_rn(b[i], in));
      if constexpr (kOutput) parts[i] = fmaf(c[i], cells[j][i], parts[i]);
    }
  }
  return (parts[0] + parts[1]) + (parts[2] + parts[3]);
}

// Calls fn(j, i, place in an array [d_state, d_inner]) for those of the lane's cells that exist.
template <int kJ, class Fn>
__device__ void ForCells(const ScanView& args, int64_t channel, const Fn& fn) {
  if (channel >= args.d_inner) return;
#pragma unroll
  for (int j = 0; j < kJ; ++j) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int64_t n = j * kQuads + threadIdx.x % kLanesN * 4 + i;
      if (n < args.d_state) fn(j, i, n * args.d_inner + channel);
    }
  }
}

template <bool kOutput, int kJ>
__device__ void ReadTile(const ScanView& args, const Segment& segment, int64_t first,
                         const Tile<kJ>& tile, int at, int64_t channel, float skip,
                         const Cells<kJ>& rate, Cells<kJ>& cells) {
  const int rows = static_cast<int>(min(segment.count - first, static_cast<int64_t>(kTile)));
#pragma unroll 4
  for (int r = 0; r < rows; ++r) {
    float sum = Step<kOutput>(tile, r, at, rate, cells);
    if constexpr (kOutput) {
#pragma unroll
      for (int offset = 1; offset < kLanesN; offset *= 2) {
        sum += __shfl_xor_sync(~0u, sum, offset);
      }
      if (threadIdx.x % kLanesN == 0 && channel < args.d_inner) {
        args.y[segment.begin + first + r][channel] = fmaf(skip, tile.x[r][at], sum);
      }
    }
  }
}

template <bool kOutput, int kJ>
__global__ void __launch_bounds__(kThreads) ScanKernel(ScanView args) {
  extern __shared__ __align__(16) float shared[];
  auto* const tiles = reinterpret_cast<Tile<kJ>*>(shared);
  const Segment segment = args.segments[blockIdx.x];
  if (segment.count == 0) return;
  for (int i = threadIdx.x; i < 2 * sizeof(Tile<kJ>) / sizeof(float); i += kThreads) shared[i] = 0;
  __syncthreads();
  const int64_t begin = blockIdx.y * static_cast<int64_t>(kChannels);
  SendTile<kOutput>(args, segment, 0, begin, tiles[0]);
  const int64_t sent = begin + threadIdx.x % 32;
  const float bias = sent < args.d_inner ? args.dt_bias[sent] : 0.0f;
  const int at = threadIdx.x / kLanesN;
  const int64_t channel = begin + at;
  const float skip = kOutput && channel < args.d_inner ? args.d[channel] : 0.0f;
  float* const state = args.states + args.slots[blockIdx.x] * args.state_stride;
  Cells<kJ> cells = {}, rate = {};
  ForCells<kJ>(args, channel, [&](int j, int i, int64_t place) {
    cells[j][i] = state[place];
    rate[j][i] = args.a[place];
  });
  Prepare(segment, 0, bias, tiles[0]);
  int now = 0;
  for (int64_t first = 0; first < segment.count; first += kTile, now ^= 1) {
    const int64_t next = first + kTile;
    if (next < segment.count) SendTile<kOutput>(args, segment, next, begin, tiles[now ^ 1]);
    ReadTile<kOutput>(args, segment, first, tiles[now], at, channel, skip, rate, cells);
    Prepare(segment, next, bias, tiles[now ^ 1]);
  }
  ForCells<kJ>(args, channel, [&](int j, int i, int64_t place) { state[place] = cells[j][i]; });
}

// For states that registers do not hold: a thread a channel, the state in memory.
template <bool kOutput>
__global__ void __launch_bounds__(kThreads) LongScanKernel(ScanView args) {
  const Segment segment = args.segments[blockIdx.x];
  const int64_t channel = blockIdx.y * static_cast<int64_t>(kThreads) + threadIdx.x;
  if (channel >= args.d_inner) return;
  float* const state = args.states + args.slots[blockIdx.x] * args.state_stride + channel;
  for (int64_t t = segment.begin; t < segment.begin + segment.count; ++t) {
    const float x = args.x[t][channel];
    const float dt = Softplus(args.dt[t][channel] + args.dt_bias[channel]);
    const float in = __fmul_rn(dt, x);
    float sum = 0;
    for (int64_t n = 0; n < args.d_state; ++n) {
      float& cell = state[n * args.d_inner];
      const float decay = expf(__fmul_rn(dt, args.a[n * args.d_inner + channel]));
      const float value = fmaf(decay, cell, __fmul_rn(args.b[t][n], in));
      cell = value;
      if constexpr (kOutput) sum = fmaf(args.c[t][n], value, sum);
    }
    if constexpr (kOutput) args.y[t][channel] = fmaf(args.d[channel], x, sum);
  }
}

template <bool kOutput>
void Run(const Exec& exec, const SelectiveScanArgs& args, const ScanView& view) {
  const auto segments = static_cast<unsigned>(args.segments.size());
  const dim3 grid(segments, Blocks(args.d_inner, kChannels));
  if (args.d_state <= kQuads) {
    Launch(exec, ScanKernel<kOutput, 1>, grid, kThreads, 2 * sizeof(Tile<1>), view);
  } else if (args.d_state <= 2 * kQuads) {
    Launch(exec, ScanKernel<kOutput, 2>, grid, kThreads, 2 * sizeof(Tile<2>), view);
  } else if (args.d_state <= 4 * kQuads) {
    Launch(exec, ScanKernel<kOutput, 4>, grid, kThreads, 2 * sizeof(Tile<4>), view);
  } else {
    Launch(exec, LongScanKernel<kOutput>, dim3(segments, Blocks(args.d_inner, kThreads)), kThreads,
           0, view);
  }
}

}  // namespace

void SelectiveScan(const Exec& exec, const SelectiveScanArgs& args) {
  if (args.segments.empty() || args.x.rows == 0) return;
  const ScanView view = {.x = args.x,
                         .dt = args.dt,
                         .b = args.b,
                         .c = args.c,
                         .y = args.y,
                         .dt_bias = args.dt_bias.data,
                         .a = args.a.data,
                         .d = args.d.data,
                         .segments = Place(exec, args.segments),
                         .slots = Place(exec, args.states.slots),
                         .states = args.states.base,
                         .state_stride = args.states.stride,
                         .d_inner = args.d_inner,
                         .d_state = args.d_state};
  if (args.y.empty()) {
    Run<false>(exec, args, view);
  } else {
    Run<true>(exec, args, view);
  }
}

}  // namespace pith::cuda
