// RoundToE4M3: a block a row, of which each thread holds what it read first.
#include "backends/cuda/e4m3.cuh"

#include <algorithm>

#include "backends/cuda/kernels.h"
#include "backends/cuda/launch.cuh"
#include "backends/cuda/tensor_core.cuh"

namespace pith::cuda {
namespace {

constexpr int kMostThreads = 1024;
constexpr int kPiece = 8;  // values that a thread reads at once

template <class T>
__device__ void Widen(const uint4& raw, float2 (&pairs)[kPiece / 2]) {
  pairs[0] = Unpack<T>(raw.x);
  pairs[1] = Unpack<T>(raw.y);
  pairs[2] = Unpack<T>(raw.z);
  pairs[3] = Unpack<T>(raw.w);
}

template <class T>
__global__ void __launch_bounds__(kMostThreads)
    RoundRow(const T* from, int64_t stride, int cols, uint8_t* to, float* scales) {
  __shared__ float parts[kMostThreads / 32];
  const int64_t row = blockIdx.x;
  from += row * stride;
  to += row * cols;
  const int step = kPiece * static_cast<int>(blockDim.x);
  const int first = kPiece * threadIdx.x;
  const auto load = [&](int c) { return *reinterpret_cast<const uint4*>(from + c); };
  const uint4 held = first < cols ? load(first) : uint4{0, 0, 0, 0};
  float2 pairs[kPiece / 2];
  float most = 0;
  for (int c = first; c < cols; c += step) {
    Widen<T>(c == first ? held : load(c), pairs);
    for (const float2& p : pairs) most = fmaxf(most, fmaxf(fabsf(p.x), fabsf(p.y)));
  }
  const E4M3Scale scale(MaxOverBlock(most, parts));
  if (threadIdx.x == 0) scales[row] = scale.down;
  for (int c = first; c < cols; c += step) {
    Widen<T>(c == first ? held : load(c), pairs);
    StoreWhole(to + c, uint2{scale.Round(pairs[0], pairs[1]), scale.Round(pairs[2], pairs[3])});
  }
}

}  // namespace

void RoundToE4M3(const Exec& exec, const void* from, DType type, int64_t stride, int64_t rows,
                 int64_t cols, void* to, float* scales) {
  const unsigned threads = std::min<unsigned>(kMostThreads, Blocks(cols, 32 * kPiece) * 32);
  const auto launch = [&]<class T>(const T* values) {
    Launch(exec, RoundRow<T>, static_cast<unsigned>(rows), threads, 0, values, stride,
           static_cast<int>(cols), static_cast<uint8_t*>(to), scales);
  };
  if (type == DType::kBF16) return launch(static_cast<const __nv_bfloat16*>(from));
  PITH_CHECK(type == DType::kF16);
  launch(static_cast<const __half*>(from));
}

}  // namespace pith::cuda
