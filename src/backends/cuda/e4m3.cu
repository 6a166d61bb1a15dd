// RoundToE4M3: a block a row, which it reads twice, the second time from its cache.
#include <cuda_fp8.h>

#include "backends/cuda/kernels.h"
#include "backends/cuda/launch.cuh"
#include "backends/cuda/tensor_core.cuh"

namespace pith::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kPiece = 8;        // values that a thread reads at once
constexpr float kLargest = 448;  // of e4m3

template <class T>
__device__ void LoadPiece(const T* from, float2 (&pairs)[kPiece / 2]) {
  const uint4 raw = *reinterpret_cast<const uint4*>(from);
  pairs[0] = Unpack<T>(raw.x);
  pairs[1] = Unpack<T>(raw.y);
  pairs[2] = Unpack<T>(raw.z);
  pairs[3] = Unpack<T>(raw.w);
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    RoundRow(const T* from, int64_t stride, int cols, uint8_t* to, float* scales) {
  __shared__ float parts[kThreads / 32];
  const int64_t row = blockIdx.x;
  from += row * stride;
  to += row * cols;
  float2 pairs[kPiece / 2];
  float most = 0;
  for (int c = kPiece * threadIdx.x; c < cols; c += kPiece * kThreads) {
    LoadPiece(from + c, pairs);
    for (const float2& p : pairs) most = fmaxf(most, fmaxf(fabsf(p.x), fabsf(p.y)));
  }
  for (int offset = 16; offset > 0; offset /= 2) {
    most = fmaxf(most, __shfl_xor_sync(~0u, most, offset));
  }
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = most;
  __syncthreads();
  for (const float part : parts) most = fmaxf(most, part);
  // A row of zeros, or of numbers so small that the quotient overflows, becomes zeros.
  const float up = most >= 0x1p-100f ? kLargest / most : 0;
  if (threadIdx.x == 0) scales[row] = most / kLargest;
  for (int c = kPiece * threadIdx.x; c < cols; c += kPiece * kThreads) {
    LoadPiece(from + c, pairs);
    uint32_t rounded[kPiece / 4];
    for (int i = 0; i < kPiece / 4; ++i) {
      const auto two = [&](float2 p) -> uint32_t {
        return __nv_cvt_float2_to_fp8x2({p.x * up, p.y * up}, __NV_SATFINITE, __NV_E4M3);
      };
      rounded[i] = two(pairs[2 * i]) | two(pairs[2 * i + 1]) << 16;
    }
    *reinterpret_cast<uint2*>(to + c) = {rounded[0], rounded[1]};
  }
}

}  // namespace

void RoundToE4M3(const Exec& exec, const void* from, DType type, int64_t stride, int64_t rows,
                 int64_t cols, void* to, float* scales) {
  const auto launch = [&]<class T>(const T* values) {
    Launch(exec, RoundRow<T>, static_cast<unsigned>(rows), kThreads, 0, values, stride,
           static_cast<int>(cols), static_cast<uint8_t*>(to), scales);
  };
  if (type == DType::kBF16) return launch(static_cast<const __nv_bfloat16*>(from));
  PITH_CHECK(type == DType::kF16);
  launch(static_cast<const __half*>(from));
}

}  // namespace pith::cuda
