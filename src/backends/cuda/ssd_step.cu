// SsdStep: one pass over a head's state a row, bound by reading and writing it.
//
// kSlices threads share a column's d_state, each in ascending order; their sums are added in order.
// The width of the accesses does not enter.
#include "backends/cuda/kernels.h"
#include "backends/cuda/ssd_view.cuh"

namespace pith::cuda {
namespace {

constexpr int kSlices = 16;
constexpr int kAcross = 16;  // threads along head_dim
constexpr int kThreads = kSlices * kAcross;
constexpr int kBatch = 8;  // vectors of the state that are on their way to a thread at once

template <int kWidth>
struct alignas(kWidth * sizeof(float)) Vector {
  float v[kWidth];
};

// A row of one head.
struct Row {
  const float* x;
  const float* b;
  const float* c;
  float dt;  // as it came
  int64_t head;
};

// Updates the thread's cells of the columns [p, p + kWidth) and adds their part of C S to `sums`.
// Everything that a batch needs from memory is asked for before the first of it is used.
template <int kWidth>
__device__ void StepColumns(const SsdView& args, const Row& row, int64_t p, float* state,
                            float (&sums)[kWidth]) {
  const int64_t states = args.d_state;
  for (int64_t first = threadIdx.x / kAcross; first < states; first += kSlices * kBatch) {
    Vector<kWidth> cells[kBatch];
    float b[kBatch], c[kBatch];
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const int64_t n = first + i * kSlices;
      if (n >= states) continue;
      cells[i] = *reinterpret_cast<const Vector<kWidth>*>(state + n * args.head_dim + p);
      b[i] = row.b[n];
      c[i] = row.c[n];
    }
    const float dt = args.StepSize(row.dt, row.head);
    const float decay = expf(__fmul_rn(dt, args.a[row.head]));
    float in[kWidth];
#pragma unroll
    for (int w = 0; w < kWidth; ++w) in[w] = __fmul_rn(dt, row.x[p + w]);
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const int64_t n = first + i * kSlices;
      if (n >= states) continue;
#pragma unroll
      for (int w = 0; w < kWidth; ++w) {
        float& cell = cells[i].v[w];
        cell = fmaf(decay, cell, __fmul_rn(b[i], in[w]));
        sums[w] = fmaf(c[i], cell, sums[w]);
      }
      *reinterpret_cast<Vector<kWidth>*>(state + n * args.head_dim + p) = cells[i];
    }
  }
}

template <int kWidth>
__global__ void __launch_bounds__(kThreads, 2) StepKernel(SsdView args) {
  constexpr int kColumns = kAcross * kWidth;
  __shared__ float parts[kSlices][kColumns];
  const int64_t s = blockIdx.x / args.n_heads, h = blockIdx.x % args.n_heads;
  const int64_t group = h / args.heads_per_group;
  const Segment segment = args.segments[s];
  float* const state = args.StateOf(s, h);
  const int at = threadIdx.x % kAcross * kWidth;
  for (int64_t t = segment.begin; t < segment.begin + segment.count; ++t) {
    const Row row = {.x = args.x[t] + h * args.head_dim,
                     .b = args.b[t] + group * args.d_state,
                     .c = args.c[t] + group * args.d_state,
                     .dt = args.dt[t][h],
                     .head = h};
    for (int64_t p = 0; p < args.head_dim; p += kColumns) {
      float sums[kWidth] = {};
      if (p + at < args.head_dim) StepColumns<kWidth>(args, row, p + at, state, sums);
#pragma unroll
      for (int w = 0; w < kWidth; ++w) parts[threadIdx.x / kAcross][at + w] = sums[w];
      __syncthreads();
      const int64_t column = p + threadIdx.x;
      if (threadIdx.x < kColumns && column < args.head_dim) {
        float sum = 0;
#pragma unroll
        for (int slice = 0; slice < kSlices; ++slice) sum += parts[slice][threadIdx.x];
        args.y[t][h * args.head_dim + column] = fmaf(args.Skip(h, column), row.x[column], sum);
      }
      __syncthreads();
    }
  }
}

}  // namespace

void SsdStep(const Exec& exec, const SsdArgs& args) {
  if (args.segments.empty() || args.x.rows == 0) return;
  const bool wide = args.head_dim % 4 == 0 && args.states.stride % 4 == 0 &&
                    reinterpret_cast<uintptr_t>(args.states.base) % 16 == 0;
  const auto blocks = static_cast<unsigned>(args.segments.size() * args.n_heads);
  Launch(exec, wide ? StepKernel<4> : StepKernel<1>, blocks, kThreads, 0, ViewOf(exec, args));
}

}  // namespace pith::cuda
