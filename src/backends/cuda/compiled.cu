// What this build holds for the GPU of the calling thread.
#include "backends/cuda/compiled.h"
#include "backends/cuda/gpu.h"
#include "backends/cuda/warpgroup.cuh"

namespace pith::cuda {
namespace {

__device__ int has_warpgroup = PITH_HAS_WARPGROUP;
__global__ void Anything() {}

}  // namespace

bool IsCompiledForThisGpu() {
  cudaFuncAttributes attributes;
  const bool found = cudaFuncGetAttributes(&attributes, Anything) == cudaSuccess;
  cudaGetLastError();
  return found;
}

bool HasWarpgroupKernels() {
  int has = 0;
  PITH_CUDA(cudaMemcpyFromSymbol(&has, has_warpgroup, sizeof(has)));
  return has != 0;
}

}  // namespace pith::cuda
