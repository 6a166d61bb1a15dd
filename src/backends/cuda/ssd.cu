// Ssd: the recurrence itself, its state in registers from a segment's first row to its last.
//
// Without tensor cores, products within chunks take as many operations as the recurrence (at 64
// rows a chunk: Q N / 2 + Q P / 2 + 2 N P against 3 N P), so that this form is as fast, errs less,
// and gives the same bits for any cut. Columns of the state do not meet, so a head's are shared out
// between blocks; tiles of rows come to shared memory while the tile before is read.
#include <cuda_pipeline.h>

#include "backends/cuda/kernels.h"
#include "backends/cuda/ssd_view.cuh"

namespace pith::cuda {
namespace {

constexpr int kWarps = 4;
constexpr int kThreads = kWarps * 32;
constexpr int kTile = 16;   // rows
constexpr int kLanesN = 8;  // lanes that share a column's d_state; each has quads of it
constexpr int kQuads = 4 * kLanesN;
constexpr int kLanesP = 32 / kLanesN;
constexpr int64_t kMostStates = 8 * kQuads;

// kJ quads of d_state and kP columns a lane.
template <int kJ, int kP>
struct Tile {
  static constexpr int kN = kJ * kQuads;                  // d_state, filled up with zeros
  static constexpr int kColumns = kWarps * kLanesP * kP;  // of a block
  float b[kTile][kN];
  float c[kTile][kN];
  float x[kTile][kColumns];
  float dt[kTile];
  float decay[kTile];
};

// A block's part of the work.
struct Part {
  int64_t begin, count;  // rows
  int64_t head, group;
  int64_t column;        // the first
  int64_t first_wanted;  // of the segment's rows
};

__device__ Part PartOf(const SsdView& args, int columns) {
  const int64_t s = blockIdx.x / args.n_heads;
  Part part;
  part.begin = args.segments[s].begin;
  part.count = args.segments[s].count;
  part.head = blockIdx.x % args.n_heads;
  part.group = part.head / args.heads_per_group;
  part.column = blockIdx.y * static_cast<int64_t>(columns);
  const int64_t wanted = args.wanted_from != nullptr ? args.wanted_from[s] : 0;
  part.first_wanted = wanted / args.chunk * args.chunk;
  return part;
}

// Sends `n` floats on their way, by one warp. `wide`: both ends allow 16 bytes at once.
__device__ void Send(const float* from, int64_t n, bool wide, float* to) {
  const int lane = threadIdx.x % 32;
  if (wide) {
    for (int64_t i = lane * 4; i < n; i += 128) __pipeline_memcpy_async(to + i, from + i, 16);
  } else {
    for (int64_t i = lane; i < n; i += 32) __pipeline_memcpy_async(to + i, from + i, 4);
  }
}

template <int kJ, int kP>
__device__ void SendTile(const SsdView& args, const Part& part, int64_t first, bool wide,
                         Tile<kJ, kP>& to) {
  const int64_t rows = min(part.count - first, static_cast<int64_t>(kTile));
  const int64_t columns =
      min(args.head_dim - part.column, static_cast<int64_t>(Tile<kJ, kP>::kColumns));
  const int64_t from_x = part.head * args.head_dim + part.column;
  for (int r = threadIdx.x / 32; r < rows; r += kWarps) {
    const int64_t row = part.begin + first + r;
    Send(args.b[row] + part.group * args.d_state, args.d_state, wide, to.b[r]);
    Send(args.c[row] + part.group * args.d_state, args.d_state, wide, to.c[r]);
    Send(args.x[row] + from_x, columns, false, to.x[r]);
  }
  __pipeline_commit();
}

// dt of the row that this thread is to prepare; 0 where it has none.
__device__ float RawStep(const SsdView& args, const Part& part, int64_t first) {
  const int64_t t = first + threadIdx.x;
  return threadIdx.x < kTile && t < part.count ? args.dt[part.begin + t][part.head] : 0.0f;
}

template <int kJ, int kP>
__device__ void StoreStep(const SsdView& args, const Part& part, float raw, Tile<kJ, kP>& to) {
  if (threadIdx.x >= kTile) return;
  const float dt = args.StepSize(raw, part.head);
  to.dt[threadIdx.x] = dt;
  to.decay[threadIdx.x] = expf(__fmul_rn(dt, args.a[part.head]));
}

template <int kJ, int kP>
using Cells = float[kP][kJ][4];

// One row; sums[q] is column q's part of C S.
template <bool kOutput, int kJ, int kP>
__device__ void Step(const Tile<kJ, kP>& tile, int r, const float (&x)[kP], Cells<kJ, kP>& cells,
                     float (&sums)[kP]) {
  const int lane = threadIdx.x % kLanesN * 4;
  const float decay = tile.decay[r];
  float in[kP];
  float parts[kP][4] = {};
#pragma unroll
  for (int q = 0; q < kP; ++q) in[q] = __fmul_rn(tile.dt[r], x[q]);
#pragma unroll
  for (int j = 0; j < kJ; ++j) {
    const float4 b4 = *reinterpret_cast<const float4*>(&tile.b[r][j * kQuads + lane]);
    const float4 c4 = *reinterpret_cast<const float4*>(&tile.c[r][j * kQuads + lane]);
    const float b[4] = {b4.x, b4.y, b4.z, b4.w};
    const float c[4] = {c4.x, c4.y, c4.z, c4.w};
#pragma unroll
    for (int q = 0; q < kP; ++q) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        float& cell = cells[q][j][i];
        cell = fmaf(decay, cell, __fmul_rn(b[i], in[q]));
        if constexpr (kOutput) parts[q][i] = fmaf(c[i], cell, parts[q][i]);
      }
    }
  }
#pragma unroll
  for (int q = 0; q < kP; ++q) {
    sums[q] = (parts[q][0] + parts[q][1]) + (parts[q][2] + parts[q][3]);
  }
}

template <int kJ, int kP>
__device__ void ReadTile(const SsdView& args, const Part& part, int64_t first,
                         const Tile<kJ, kP>& tile, int at, const float (&skip)[kP],
                         Cells<kJ, kP>& cells) {
  const int rows = static_cast<int>(min(part.count - first, static_cast<int64_t>(kTile)));
  const int64_t column = part.column + at;
  for (int r = 0; r < rows; ++r) {
    float x[kP], sums[kP];
#pragma unroll
    for (int q = 0; q < kP; ++q) x[q] = tile.x[r][at + q];
    if (first + r < part.first_wanted) {
      Step<false>(tile, r, x, cells, sums);
      continue;
    }
    Step<true>(tile, r, x, cells, sums);
    float* const y = args.y[part.begin + first + r] + part.head * args.head_dim;
#pragma unroll
    for (int q = 0; q < kP; ++q) {
#pragma unroll
      for (int offset = 1; offset < kLanesN; offset *= 2) {
        sums[q] += __shfl_xor_sync(~0u, sums[q], offset);
      }
      if (threadIdx.x % kLanesN == 0 && column + q < args.head_dim) {
        y[column + q] = fmaf(skip[q], x[q], sums[q]);
      }
    }
  }
}

// Calls fn(cell, its place in the head's state) for those of the lane's cells that exist.
template <int kJ, int kP, class Fn>
__device__ void ForCells(const SsdView& args, int64_t column, Cells<kJ, kP>& cells, const Fn& fn) {
#pragma unroll
  for (int q = 0; q < kP; ++q) {
#pragma unroll
    for (int j = 0; j < kJ; ++j) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int64_t n = j * kQuads + threadIdx.x % kLanesN * 4 + i;
        if (n < args.d_state && column + q < args.head_dim) {
          fn(cells[q][j][i], n * args.head_dim + column + q);
        }
      }
    }
  }
}

template <int kJ, int kP>
__global__ void __launch_bounds__(kThreads) SsdKernel(SsdView args, bool wide) {
  extern __shared__ __align__(16) float shared[];
  auto* const tiles = reinterpret_cast<Tile<kJ, kP>*>(shared);
  const Part part = PartOf(args, Tile<kJ, kP>::kColumns);
  if (part.count == 0) return;
  for (int i = threadIdx.x; i < 2 * sizeof(Tile<kJ, kP>) / sizeof(float); i += kThreads) {
    shared[i] = 0;
  }
  __syncthreads();
  SendTile(args, part, 0, wide, tiles[0]);
  const int at = threadIdx.x / kLanesN * kP;
  float skip[kP];
#pragma unroll
  for (int q = 0; q < kP; ++q) {
    skip[q] = part.column + at + q < args.head_dim ? args.Skip(part.head, part.column + at + q) : 0;
  }
  float* const state = args.StateOf(blockIdx.x / args.n_heads, part.head);
  Cells<kJ, kP> cells = {};
  const auto load = [&](float& cell, int64_t i) { cell = state[i]; };
  ForCells<kJ, kP>(args, part.column + at, cells, load);
  StoreStep(args, part, RawStep(args, part, 0), tiles[0]);
  __pipeline_wait_prior(0);
  __syncthreads();
  int now = 0;
  for (int64_t first = 0; first < part.count; first += kTile, now ^= 1) {
    const int64_t next = first + kTile;
    if (next < part.count) SendTile(args, part, next, wide, tiles[now ^ 1]);
    const float raw = RawStep(args, part, next);
    ReadTile(args, part, first, tiles[now], at, skip, cells);
    StoreStep(args, part, raw, tiles[now ^ 1]);
    __pipeline_wait_prior(0);
    __syncthreads();
  }
  const auto store = [&](float cell, int64_t i) { state[i] = cell; };
  ForCells<kJ, kP>(args, part.column + at, cells, store);
}

bool IsWide(const MatView<const float>& m, int64_t d_state) {
  return d_state % 4 == 0 && m.stride % 4 == 0 && reinterpret_cast<uintptr_t>(m.data) % 16 == 0;
}

template <int kJ, int kP>
void Run(const Exec& exec, const SsdArgs& args) {
  const dim3 grid(static_cast<unsigned>(args.segments.size() * args.n_heads),
                  Blocks(args.head_dim, Tile<kJ, kP>::kColumns));
  const bool wide = IsWide(args.b, args.d_state) && IsWide(args.c, args.d_state);
  Launch(exec, SsdKernel<kJ, kP>, grid, kThreads, 2 * sizeof(Tile<kJ, kP>), ViewOf(exec, args),
         wide);
}

// Two columns a lane read B and C half as often, where they leave enough blocks; the sums of a
// column are the same.
template <int kJ>
void RunWithColumns(const Exec& exec, const SsdArgs& args) {
  const int64_t blocks = static_cast<int64_t>(args.segments.size()) * args.n_heads *
                         Blocks(args.head_dim, Tile<kJ, 2>::kColumns);
  const bool fills = blocks >= GpuOf(exec).properties().multiProcessorCount;
  (fills ? Run<kJ, 2> : Run<kJ, 1>)(exec, args);
}

}  // namespace

void Ssd(const Exec& exec, const SsdArgs& args) {
  if (args.segments.empty() || args.x.rows == 0) return;
  const int64_t n = args.d_state;
  const auto run = n <= kQuads        ? RunWithColumns<1>
                   : n <= 2 * kQuads  ? RunWithColumns<2>
                   : n <= 4 * kQuads  ? RunWithColumns<4>
                   : n <= kMostStates ? Run<8, 1>
                                      : SsdStep;  // whose state stays in memory
  run(exec, args);
}

}  // namespace pith::cuda
