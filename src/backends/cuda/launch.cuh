// What kernels and the code that launches them share.
#ifndef PITH_BACKENDS_CUDA_LAUNCH_CUH_
#define PITH_BACKENDS_CUDA_LAUNCH_CUH_

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <utility>

#include "backends/cuda/gpu.h"
#include "core/dtype.h"
#include "core/tensor.h"

namespace pith::cuda {

// Launches on exec's stream. Asking for more than 48 KB of shared memory raises the kernel's limit.
template <class... Parameters, class... Arguments>
void Launch(const Exec& exec, void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared,
            Arguments&&... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  const cudaStream_t stream = StreamOf(exec);
  if (shared > 48 * 1024) {
    PITH_CUDA(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                   cudaFuncAttributeMaxDynamicSharedMemorySize,
                                   static_cast<int>(shared)));
  }
  kernel<<<grid, block, shared, stream>>>(std::forward<Arguments>(arguments)...);
  PITH_CUDA(cudaGetLastError());
}

// As Launch, for kernels that call AwaitPrevious before they touch what others wrote: they may
// begin while the launch before them ends, and bring what no launch writes (weights) meanwhile.
// Blocks of several launches share a multiprocessor only where they agree on how much of its first
// level of memory is shared memory: all of them ask for the most. `cluster`: blocks that may write
// to each other's shared memory, from capability 9.0 on.
template <class... Parameters, class... Arguments>
void LaunchClusters(const Exec& exec, void (*kernel)(Parameters...), dim3 grid, dim3 block,
                    size_t shared, unsigned cluster, Arguments&&... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  const auto* const function = reinterpret_cast<const void*>(kernel);
  PITH_CUDA(cudaFuncSetAttribute(function, cudaFuncAttributePreferredSharedMemoryCarveout,
                                 cudaSharedmemCarveoutMaxShared));
  if (shared > 48 * 1024) {
    PITH_CUDA(cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                   static_cast<int>(shared)));
  }
  cudaLaunchAttribute attributes[2] = {};
  attributes[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attributes[0].val.programmaticStreamSerializationAllowed = 1;
  attributes[1].id = cudaLaunchAttributeClusterDimension;
  attributes[1].val.clusterDim = {cluster, 1, 1};
  const unsigned count = cluster > 1 ? 2 : 1;
  const cudaLaunchConfig_t config{.gridDim = grid,
                                  .blockDim = block,
                                  .dynamicSmemBytes = shared,
                                  .stream = StreamOf(exec),
                                  .attrs = attributes,
                                  .numAttrs = GpuOf(exec).properties().major >= 9 ? count : 0u};
  PITH_CUDA(cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...));
}
template <class... Parameters, class... Arguments>
void LaunchEarly(const Exec& exec, void (*kernel)(Parameters...), dim3 grid, dim3 block,
                 size_t shared, Arguments&&... arguments) {
  LaunchClusters(exec, kernel, grid, block, shared, 1, std::forward<Arguments>(arguments)...);
}

// 8 or 16 bytes to device memory by one store. Of a value that was put together just before it the
// compiler often makes one for each word, which keep the L2 busy as long as whole ones would.
template <class V>
__device__ inline void StoreWhole(void* to, const V& v) {
  __stwb(static_cast<V*>(to), v);
}

// Lets the next launch begin as soon as every block has come here: it is for AwaitPrevious to make
// it wait. Called first, so that launches overlap as far as the GPU has room.
__device__ inline void LetNextBegin() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}

// Until all that was launched before is done and seen.
__device__ inline void AwaitPrevious() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// A MatView as kernels read it.
template <class T>
struct Rows {
  T* data;
  int64_t stride;
  Rows(const MatView<T>& view) : data(view.data), stride(view.stride) {}  // NOLINT
  __device__ T* operator[](int64_t row) const { return data + row * stride; }
};

__device__ inline float Widen(float v) { return v; }
__device__ inline float Widen(F16 v) { return __half2float(__ushort_as_half(v.bits)); }
__device__ inline float Widen(BF16 v) {
  return __uint_as_float(static_cast<uint32_t>(v.bits) << 16);
}

__device__ inline float Sigmoid(float v) { return 1 / (1 + expf(-v)); }

// v · sigmoid(v); ∓0 where e⁻ᵛ overflows, v where it vanishes.
__device__ inline float Silu(float v) { return v / (1 + expf(-v)); }

// NaN stays NaN.
__device__ inline float Clamp(float v, float low, float high) {
  return v < low ? low : v > high ? high : v;
}

// log(1 + e^v), to a few roundings of f32.
__device__ inline float Softplus(float v) { return v > 20 ? v : log1pf(expf(v)); }

// Over the 32 lanes of a warp, the same in all, in a fixed order.
template <class T>
__device__ inline T WarpSum(T v) {
  for (int offset = 16; offset > 0; offset /= 2) v += __shfl_xor_sync(~0u, v, offset);
  return v;
}

// Over a block of kThreads, the same in all, in a fixed order. Ends with a barrier.
template <int kThreads, class T>
__device__ inline T BlockSum(T v) {
  __shared__ T parts[kThreads / 32];
  v = WarpSum(v);
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = v;
  __syncthreads();
  T sum = 0;
  for (int w = 0; w < kThreads / 32; ++w) sum += parts[w];
  __syncthreads();
  return sum;
}

}  // namespace pith::cuda

#endif  // PITH_BACKENDS_CUDA_LAUNCH_CUH_
