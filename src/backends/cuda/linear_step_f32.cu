// LinearStepF32: dot products, bound by reading each weight once.
//
// A lane has packs of the depth, 32 packs apart, and sums them in one chain of fused
// multiply-adds; the lanes' sums are added at the end. Neither the rows that share a warp nor the
// width of its loads enters, so a row has the same bits among any others.
#include "backends/cuda/kernels.h"
#include "backends/cuda/launch.cuh"

namespace pith::cuda {
namespace {

constexpr int kWarps = 4;  // a block
constexpr int kMostRows = 8;

template <class T>
constexpr int kPack = 16 / sizeof(T);  // elements that a lane loads at once

// `count` of kCount consecutive elements, widened; zero beyond.
template <bool kWide, int kCount, class T>
__device__ void Read(const T* from, int64_t count, float (&to)[kCount]) {
  if constexpr (kWide) {
    constexpr int kPerLoad = 16 / sizeof(T);
    union {
      uint4 bits;
      T values[kPerLoad];
    } load;
#pragma unroll
    for (int i = 0; i < kCount; i += kPerLoad) {
      load.bits = __ldg(reinterpret_cast<const uint4*>(from + i));
#pragma unroll
      for (int e = 0; e < kPerLoad; ++e) to[i + e] = Widen(load.values[e]);
    }
  } else {
#pragma unroll
    for (int i = 0; i < kCount; ++i) to[i] = i < count ? Widen(from[i]) : 0.0f;
  }
}

// A warp has kCols columns and kRows rows; those beyond the matrices repeat the last one.
template <class T, int kRows, int kCols, bool kWide>
__global__ void __launch_bounds__(kWarps * 32)
    StepKernel(Rows<const float> x, int64_t rows, const T* w, int64_t cols, int64_t depth,
               const float* bias, Rows<float> out) {
  const int lane = threadIdx.x % 32;
  const int64_t col = (blockIdx.x * static_cast<int64_t>(kWarps) + threadIdx.x / 32) * kCols;
  const int64_t row = blockIdx.y * static_cast<int64_t>(kRows);
  if (col >= cols) return;
  const float* in[kRows];
  const T* weights[kCols];
#pragma unroll
  for (int r = 0; r < kRows; ++r) in[r] = x[min(row + r, rows - 1)];
#pragma unroll
  for (int c = 0; c < kCols; ++c) weights[c] = w + min(col + c, cols - 1) * depth;
  float sums[kRows][kCols] = {};
#pragma unroll 2
  for (int64_t k = lane * kPack<T>; k < depth; k += 32 * kPack<T>) {
    float of_w[kCols][kPack<T>];
#pragma unroll
    for (int c = 0; c < kCols; ++c) Read<kWide>(weights[c] + k, depth - k, of_w[c]);
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      float of_x[kPack<T>];
      Read<kWide>(in[r] + k, depth - k, of_x);
#pragma unroll
      for (int c = 0; c < kCols; ++c) {
#pragma unroll
        for (int e = 0; e < kPack<T>; ++e) sums[r][c] = fmaf(of_x[e], of_w[c][e], sums[r][c]);
      }
    }
  }
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
#pragma unroll
    for (int c = 0; c < kCols; ++c) {
      const float sum = WarpSum(sums[r][c]);
      if (lane != 0 || row + r >= rows || col + c >= cols) continue;
      out[row + r][col + c] = bias != nullptr ? sum + bias[col + c] : sum;
    }
  }
}

template <class T, int kRows, int kCols>
void Run(const Exec& exec, MatView<const float> x, const WeightView& w, const float* bias,
         MatView<float> out) {
  const T* const first = static_cast<const T*>(w.data) + w.first * w.cols;
  const auto aligned = [](const void* data) { return reinterpret_cast<uintptr_t>(data) % 16 == 0; };
  const bool wide = w.cols % kPack<T> == 0 && aligned(first) && aligned(x.data) &&
                    (x.stride % 4 == 0 || x.rows == 1);
  const auto kernel = wide ? StepKernel<T, kRows, kCols, true> : StepKernel<T, kRows, kCols, false>;
  const dim3 grid(Blocks(w.rows, kWarps * kCols), Blocks(x.rows, kRows));
  Launch(exec, kernel, grid, kWarps * 32, 0, x, x.rows, first, w.rows, w.cols, bias, out);
}

}  // namespace

void LinearStepF32(const Exec& exec, MatView<const float> x, const WeightView& w,
                   VecView<const float> bias, MatView<float> out) {
  PITH_CHECK(w.format == WeightFormat::kRows);
  if (out.empty()) return;
  constexpr int64_t kMostGroups = 65535;  // of rows in one launch
  for (int64_t begin = 0; begin < out.rows; begin += kMostGroups * kMostRows) {
    const int64_t rows = std::min(out.rows - begin, kMostGroups * kMostRows);
    VisitFloat(w.dtype, [&]<class T>() {
      const auto run = rows == 1   ? Run<T, 1, 2>
                       : rows == 2 ? Run<T, 2, 2>
                       : rows <= 4 ? Run<T, 4, 2>
                                   : Run<T, kMostRows, 4>;
      run(exec, x.Rows(begin, rows), w, bias.empty() ? nullptr : bias.data, out.Rows(begin, rows));
    });
  }
}

}  // namespace pith::cuda
