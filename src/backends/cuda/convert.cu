// Convert: element types of device memory.
#include <algorithm>

#include "backends/cuda/kernels.h"
#include "backends/cuda/launch.cuh"

namespace pith::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kPack = 4;  // elements that a thread moves at once
constexpr int64_t kMostBlocks = 4096;

template <class T>
struct alignas(kPack * sizeof(T)) Pack {
  T values[kPack];
};

template <class T>
__device__ T Narrow(float v);
template <>
__device__ float Narrow<float>(float v) {
  return v;
}
template <>
__device__ F16 Narrow<F16>(float v) {
  return {__half_as_ushort(__float2half_rn(v))};
}
template <>
__device__ BF16 Narrow<BF16>(float v) {
  return {__bfloat16_as_ushort(__float2bfloat16_rn(v))};
}

// The first packs · kPack elements as packs, the rest one by one.
template <class From, class To>
__global__ void ConvertKernel(const From* from, To* to, int64_t count, int64_t packs) {
  const int64_t first = blockIdx.x * static_cast<int64_t>(kThreads) + threadIdx.x;
  const int64_t step = gridDim.x * static_cast<int64_t>(kThreads);
  for (int64_t i = first; i < packs; i += step) {
    const auto in = reinterpret_cast<const Pack<From>*>(from)[i];
    Pack<To> out;
#pragma unroll
    for (int k = 0; k < kPack; ++k) out.values[k] = Narrow<To>(Widen(in.values[k]));
    reinterpret_cast<Pack<To>*>(to)[i] = out;
  }
  for (int64_t i = packs * kPack + first; i < count; i += step) {
    to[i] = Narrow<To>(Widen(from[i]));
  }
}

template <class T>
bool Packable(const void* data) {
  return reinterpret_cast<uintptr_t>(data) % sizeof(Pack<T>) == 0;
}

}  // namespace

void Convert(cudaStream_t stream, const void* from, DType from_type, void* to, DType to_type,
             int64_t count) {
  if (count <= 0) return;
  if (from_type == to_type) {
    PITH_CUDA(cudaMemcpyAsync(to, from, count * SizeOf(to_type), cudaMemcpyDeviceToDevice, stream));
    return;
  }
  VisitFloat(from_type, [&]<class From>() {
    VisitFloat(to_type, [&]<class To>() {
      const int64_t packs = Packable<From>(from) && Packable<To>(to) ? count / kPack : 0;
      const int64_t work = std::max(packs, count - packs * kPack);
      const auto blocks =
          static_cast<unsigned>(std::min((work + kThreads - 1) / kThreads, kMostBlocks));
      ConvertKernel<From, To><<<blocks, kThreads, 0, stream>>>(static_cast<const From*>(from),
                                                               static_cast<To*>(to), count, packs);
      PITH_CUDA(cudaGetLastError());
    });
  });
}

}  // namespace pith::cuda
