// Prefix sums over the threads of a block, in a fixed order.
#ifndef PITH_BACKENDS_CUDA_SUM_BEFORE_CUH_
#define PITH_BACKENDS_CUDA_SUM_BEFORE_CUH_

namespace pith::cuda {

// The sum of `v` over the threads before this one; `total` becomes that over all.
template <int kThreads>
__device__ double SumBefore(double v, double& total) {
  __shared__ double parts[kThreads / 32];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  double upto = v;
  for (int offset = 1; offset < 32; offset *= 2) {
    const double below = __shfl_up_sync(~0u, upto, offset);
    if (lane >= offset) upto += below;
  }
  if (lane == 31) parts[warp] = upto;
  const double before = __shfl_up_sync(~0u, upto, 1);
  __syncthreads();
  double sum = 0;
  total = 0;
  for (int w = 0; w < kThreads / 32; ++w) {
    if (w == warp) sum = total;
    total += parts[w];
  }
  __syncthreads();
  return lane == 0 ? sum : sum + before;
}

}  // namespace pith::cuda

#endif  // PITH_BACKENDS_CUDA_SUM_BEFORE_CUH_
