// AddNorm and Gate: a block for each mean square, elements kept in shared memory between their
// sum and their scaling. A thread reads and writes its own elements only, so results may replace
// inputs.
#include "backends/cuda/kernels.h"
#include "backends/cuda/launch.cuh"

namespace pith::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kBatch = 4;  // elements of a thread that are on their way at once

// Calls put(i, get(i)) for the thread's i < count; gets of a batch precede its puts.
template <class Get, class Put>
__device__ void ForBatches(int64_t count, const Get& get, const Put& put) {
  for (int64_t first = threadIdx.x; first < count; first += kBatch * kThreads) {
    float values[kBatch];
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const int64_t at = first + i * kThreads;
      values[i] = at < count ? get(at) : 0.0f;
    }
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const int64_t at = first + i * kThreads;
      if (at < count) put(at, values[i]);
    }
  }
}

// How a row is kept between two looks at it: in shared memory, or where it is too long in `out`.
bool FitsShared(const Exec& exec, int64_t count) {
  constexpr int64_t kReserved = 1024;  // the system's and BlockSum's
  return count * static_cast<int64_t>(sizeof(float)) + kReserved <=
         static_cast<int64_t>(GpuOf(exec).properties().sharedMemPerBlockOptin);
}

struct NormView {
  Rows<const float> x, add;
  Rows<float> sum, out;
  const float* weight;
  const float* bias;
  int64_t cols;
  bool layer_norm;
  float eps;
};

__global__ void __launch_bounds__(kThreads) AddNormKernel(NormView args, bool in_shared) {
  extern __shared__ float shared[];
  const int64_t row = blockIdx.x;
  const int64_t n = args.cols;
  const float* const x = args.x[row];
  const float* const add = args.add.data != nullptr ? args.add[row] : nullptr;
  float* const sum = args.sum.data != nullptr ? args.sum[row] : nullptr;
  float* const out = args.out[row];
  float* const kept = in_shared ? shared : out;
  float total = 0;
  float square = 0;
  ForBatches(
      n, [&](int64_t i) { return add != nullptr ? x[i] + add[i] : x[i]; },
      [&](int64_t i, float v) {
        if (sum != nullptr) sum[i] = v;
        kept[i] = v;
        total += v;
        square = fmaf(v, v, square);
      });
  float mean = 0;
  if (args.layer_norm) {
    mean = BlockSum<kThreads>(total) / n;
    square = 0;
    for (int64_t i = threadIdx.x; i < n; i += kThreads) {
      const float v = kept[i] - mean;
      square = fmaf(v, v, square);
    }
  }
  const float scale = 1 / sqrtf(BlockSum<kThreads>(square) / n + args.eps);
  for (int64_t i = threadIdx.x; i < n; i += kThreads) {
    float v = (kept[i] - mean) * scale;
    if (args.weight != nullptr) v *= args.weight[i];
    out[i] = args.bias != nullptr ? v + args.bias[i] : v;
  }
}

struct GateView {
  Rows<const float> y, z;
  Rows<float> out;
  const float* weight;
  int64_t cols;
  int64_t group;
  bool norm_before_gate;
  float eps;
};

__global__ void __launch_bounds__(kThreads) GateKernel(GateView args) {
  const int64_t row = blockIdx.x;
  const float* const y = args.y[row];
  const float* const z = args.z[row];
  float* const out = args.out[row];
  const int64_t begin = blockIdx.y * static_cast<int64_t>(kThreads * kBatch);
  const int64_t count = min(args.cols - begin, static_cast<int64_t>(kThreads * kBatch));
  ForBatches(
      count, [&](int64_t i) { return y[begin + i] * Silu(z[begin + i]); },
      [&](int64_t i, float v) { out[begin + i] = v; });
}

__global__ void __launch_bounds__(kThreads) GatedNormKernel(GateView args, bool in_shared) {
  extern __shared__ float shared[];
  const int64_t row = blockIdx.x;
  const int64_t n = args.group;
  const int64_t begin = blockIdx.y * n;
  const float* const y = args.y[row] + begin;
  const float* const z = args.z[row] + begin;
  const float* const weight = args.weight + begin;
  float* const out = args.out[row] + begin;
  float* const kept = in_shared ? shared : out;
  const bool before = args.norm_before_gate;
  float square = 0;
  ForBatches(
      n, [&](int64_t i) { return before ? y[i] : y[i] * Silu(z[i]); },
      [&](int64_t i, float v) {
        kept[i] = v;
        square = fmaf(v, v, square);
      });
  const float scale = 1 / sqrtf(BlockSum<kThreads>(square) / n + args.eps);
  for (int64_t i = threadIdx.x; i < n; i += kThreads) {
    const float v = kept[i] * scale * weight[i];
    out[i] = before ? v * Silu(z[i]) : v;
  }
}

}  // namespace

void AddNorm(const Exec& exec, const AddNormArgs& args) {
  if (args.out.empty()) return;
  NormView view = {.x = args.x,
                   .add = args.add,
                   .sum = args.sum,
                   .out = args.out,
                   .weight = args.weight.data,
                   .bias = args.bias.data,
                   .cols = args.x.cols,
                   .layer_norm = args.layer_norm,
                   .eps = args.eps};
  if (args.add.empty()) view.add.data = nullptr;
  if (args.sum.empty()) view.sum.data = nullptr;
  const bool in_shared = FitsShared(exec, view.cols);
  Launch(exec, AddNormKernel, static_cast<unsigned>(args.x.rows), kThreads,
         in_shared ? view.cols * sizeof(float) : 0, view, in_shared);
}

void Gate(const Exec& exec, const GateArgs& args) {
  if (args.out.empty()) return;
  const GateView view = {.y = args.y,
                         .z = args.z,
                         .out = args.out,
                         .weight = args.norm_weight.data,
                         .cols = args.y.cols,
                         .group = args.group,
                         .norm_before_gate = args.norm_before_gate,
                         .eps = args.eps};
  const auto rows = static_cast<unsigned>(args.y.rows);
  if (view.weight == nullptr) {
    Launch(exec, GateKernel, dim3(rows, Blocks(view.cols, kThreads * kBatch)), kThreads, 0, view);
    return;
  }
  const bool in_shared = FitsShared(exec, view.group);
  Launch(exec, GatedNormKernel, dim3(rows, static_cast<unsigned>(view.cols / view.group)), kThreads,
         in_shared ? view.group * sizeof(float) : 0, view, in_shared);
}

}  // namespace pith::cuda
