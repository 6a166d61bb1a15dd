// A block multiplies 16 rows of the weight with all rows of x; its warps share the sum, and their
// parts are added in order. There are as many warps as bring all of the block's weights on their
// way at once, before the launch that makes x has ended. Weights go from memory straight into the
// operands of the tensor cores: a lane's 16 bytes are eight consecutive columns, and the product
// does not mind that they stand in other places of the sum than the instruction's names for them,
// as long as x's columns do too. Each row of x is a column of the product, so its bits do not
// depend on the others. GPUs with bulk copies take streamed_product.cu in its place, but for
// weights of other widths.
#include "backends/cuda/step_product.h"

#include <algorithm>

#include "backends/cuda/launch.cuh"
#include "backends/cuda/streamed_product.h"
#include "backends/cuda/tensor_core.cuh"

namespace pith::cuda {
namespace {

constexpr int kOutputs = 16;  // rows of the weight a block
constexpr int kColumns = 32;  // of the weight a step of a warp
constexpr int kAhead = 10;    // steps whose weights are on their way together
constexpr int kMostWarps = 16;

struct StepTask {
  const void* x;  // of T or f32
  int64_t x_stride;
  int rows;  // of x, at most 8 kTiles
  const void* w;
  int w_rows;
  int cols;
  const float* bias;
  float* out;
  int64_t out_stride;
};

__device__ inline uint4 LoadOnce(const void* p) { return __ldcs(static_cast<const uint4*>(p)); }

// Eight columns of a row of x, rounded.
template <class T>
__device__ inline uint4 LoadX(const T* x) {
  return *reinterpret_cast<const uint4*>(x);
}
template <class T>
__device__ inline uint4 LoadX(const float* x) {
  const float4 a = reinterpret_cast<const float4*>(x)[0];
  const float4 b = reinterpret_cast<const float4*>(x)[1];
  return {Pack<T>(a.x, a.y), Pack<T>(a.z, a.w), Pack<T>(b.x, b.y), Pack<T>(b.z, b.w)};
}

// What a lane of a warp adds up, for kTiles · 8 rows of x.
template <int kTiles, bool kWhole, class T, class X>
struct Sum {
  const T* upper;  // the lane's row of the weight, and the one 8 below it
  const T* lower;
  const X* x;  // the lane's row of x in the first tile
  int64_t x_stride;
  int rows_left;     // of x from the lane's row on
  int columns_left;  // from the lane's first column on
  float sums[kTiles][4];

  __device__ void Add(const uint4& a, const uint4& b, int column) {
    const uint32_t early[4] = {a.x, b.x, a.y, b.y};
    const uint32_t late[4] = {a.z, b.z, a.w, b.w};
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
      uint4 v = make_uint4(0, 0, 0, 0);
      if (8 * tile < rows_left && (kWhole || column < columns_left)) {
        v = LoadX<T>(x + 8 * tile * x_stride + column);
      }
      MultiplyAdd<T>(sums[tile], early, v.x, v.y);
      MultiplyAdd<T>(sums[tile], late, v.z, v.w);
    }
  }
};

// kWhole: the columns are whole steps, and none need be masked. With one tile of x three blocks of
// eight warps fit a multiprocessor.
template <int kTiles, int kWarps, bool kWhole, class T, class X>
__global__ void __launch_bounds__(32 * kWarps, kTiles == 1 ? 24 / kWarps : 1)
    StepKernel(StepTask task) {
  constexpr int kThreads = 32 * kWarps;
  __shared__ float parts[kWarps][kTiles][kOutputs][8];
  LetNextBegin();
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;
  const int first_row = blockIdx.x * kOutputs + lane / 4;
  const int quad = lane % 4 * 8;
  const int steps = (task.cols + kColumns - 1) / kColumns;
  const int begin = warp * steps / kWarps;
  const int end = (warp + 1) * steps / kWarps;
  // Rows past the weight's end are read as its last one, and not written.
  const auto row_of = [&](int row) {
    return static_cast<const T*>(task.w) + int64_t{min(row, task.w_rows - 1)} * task.cols + quad;
  };
  Sum<kTiles, kWhole, T, X> sum{row_of(first_row),
                                row_of(first_row + 8),
                                static_cast<const X*>(task.x) + lane / 4 * task.x_stride + quad,
                                task.x_stride,
                                task.rows - lane / 4,
                                task.cols - quad,
                                {}};
  for (int step = begin; step < end; step += kAhead) {
    uint4 a[kAhead], b[kAhead];
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      if (step + i >= end) continue;
      const int column = (step + i) * kColumns;
      if (!kWhole) a[i] = b[i] = make_uint4(0, 0, 0, 0);
      if (!kWhole && column + quad >= task.cols) continue;  // in the last step
      a[i] = LoadOnce(sum.upper + column);
      b[i] = LoadOnce(sum.lower + column);
    }
    if (step == begin) AwaitPrevious();
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      if (step + i < end) sum.Add(a[i], b[i], (step + i) * kColumns);
    }
  }
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      parts[warp][tile][lane / 4 + e / 2 * 8][lane % 4 * 2 + e % 2] = sum.sums[tile][e];
    }
  }
  __syncthreads();
  for (int i = threadIdx.x; i < kTiles * kOutputs * 8; i += kThreads) {
    const int row = i / kOutputs;  // of x
    const int output = blockIdx.x * kOutputs + i % kOutputs;
    if (row >= task.rows || output >= task.w_rows) continue;
    float v = task.bias != nullptr ? task.bias[output] : 0;
    for (int w = 0; w < kWarps; ++w) v += parts[w][row / 8][i % kOutputs][row % 8];
    task.out[row * task.out_stride + output] = v;
  }
}

constexpr int kMostTiles = 4;

template <int kWarps, bool kWhole, class T, class X>
auto KernelFor(int64_t rows) {
  if (rows <= 8) return StepKernel<1, kWarps, kWhole, T, X>;
  if (rows <= 16) return StepKernel<2, kWarps, kWhole, T, X>;
  return StepKernel<kMostTiles, kWarps, kWhole, T, X>;
}

template <class T, class X>
void Run(const Exec& exec, const ProductArgs& args) {
  for (int64_t first = 0; first < args.rows; first += 8 * kMostTiles) {
    const int64_t rows = std::min<int64_t>(8 * kMostTiles, args.rows - first);
    const StepTask task{.x = static_cast<const X*>(args.x) + first * args.x_stride,
                        .x_stride = args.x_stride,
                        .rows = static_cast<int>(rows),
                        .w = static_cast<const T*>(args.w.data) + args.w.first * args.w.cols,
                        .w_rows = static_cast<int>(args.w.rows),
                        .cols = static_cast<int>(args.w.cols),
                        .bias = args.bias.data,
                        .out = static_cast<float*>(args.out) + first * args.out_stride,
                        .out_stride = args.out_stride};
    // By the weight's shape alone, which fixes the order of every sum.
    const bool wide = args.w.cols > 8 * kAhead * kColumns;
    const bool whole = args.w.cols % kColumns == 0;
    const auto kernel = wide && whole ? KernelFor<kMostWarps, true, T, X>(rows)
                        : wide        ? KernelFor<kMostWarps, false, T, X>(rows)
                        : whole       ? KernelFor<8, true, T, X>(rows)
                                      : KernelFor<8, false, T, X>(rows);
    LaunchEarly(exec, kernel, Blocks(args.w.rows, kOutputs), wide ? 512 : 256, 0, task);
  }
}

}  // namespace

bool TakesStepProduct(const WeightView& w) {
  return w.dtype != DType::kF32 && w.cols > 0 && w.cols % 8 == 0;
}

void StepProduct(const Exec& exec, const ProductArgs& args) {
  PITH_CHECK(TakesStepProduct(args.w) && args.out_type == DType::kF32);
  if (TakesStreamedProduct(exec, args.w)) return StreamedProduct(exec, {.product = args});
  if (args.rows == 0 || args.w.rows == 0) return;
  const bool bf16 = args.w.dtype == DType::kBF16;
  if (args.x_f32) {
    (bf16 ? Run<__nv_bfloat16, float> : Run<__half, float>)(exec, args);
  } else {
    (bf16 ? Run<__nv_bfloat16, __nv_bfloat16> : Run<__half, __half>)(exec, args);
  }
}

}  // namespace pith::cuda
