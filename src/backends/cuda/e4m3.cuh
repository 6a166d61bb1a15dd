// A row's scale in e4m3, and rounding by it.
#ifndef PITH_BACKENDS_CUDA_E4M3_CUH_
#define PITH_BACKENDS_CUDA_E4M3_CUH_

#include <cuda_fp8.h>

#include <cstdint>

namespace pith::cuda {

// Of what is not negative, over a block of any whole number of warps, the same in all threads;
// `parts` has room for one number a warp.
__device__ inline float MaxOverBlock(float v, float* parts) {
  for (int offset = 16; offset > 0; offset /= 2) v = fmaxf(v, __shfl_xor_sync(~0u, v, offset));
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = v;
  __syncthreads();
  for (int w = 0; w < static_cast<int>(blockDim.x) / 32; ++w) v = fmaxf(v, parts[w]);
  return v;
}

// Of a row whose largest magnitude is `most`: that becomes e4m3's, 448.
struct E4M3Scale {
  float up;
  float down;  // what the rounded numbers are to be multiplied by

  // A row of zeros, or of numbers so small that the quotient overflows, becomes zeros.
  __device__ explicit E4M3Scale(float most)
      : up(most >= 0x1p-100f ? 448 / most : 0), down(most / 448) {}
  // Four numbers, the first in the lowest byte.
  __device__ uint32_t Round(float2 a, float2 b) const {
    const auto two = [&](float2 p) -> uint32_t {
      return __nv_cvt_float2_to_fp8x2({p.x * up, p.y * up}, __NV_SATFINITE, __NV_E4M3);
    };
    return two(a) | two(b) << 16;
  }
};

}  // namespace pith::cuda

#endif  // PITH_BACKENDS_CUDA_E4M3_CUH_
