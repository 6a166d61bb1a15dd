// The largest of a block's values, and where it stands.
#ifndef PITH_BACKENDS_CUDA_TOP_CUH_
#define PITH_BACKENDS_CUDA_TOP_CUH_

namespace pith::cuda {

struct Top {
  float value;
  int index;

  // The larger value, of equals the lower index; a NaN is never larger.
  __device__ void Meet(const Top& other) {
    if (other.value > value || (other.value == value && other.index < index)) *this = other;
  }
};

__device__ inline Top WarpTop(Top top) {
  for (int offset = 16; offset > 0; offset /= 2) {
    top.Meet({__shfl_xor_sync(~0u, top.value, offset), __shfl_xor_sync(~0u, top.index, offset)});
  }
  return top;
}

template <int kThreads>
__device__ Top BlockTop(Top top) {
  __shared__ Top parts[kThreads / 32];
  top = WarpTop(top);
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = top;
  __syncthreads();
  for (const Top& part : parts) top.Meet(part);
  __syncthreads();
  return top;
}

}  // namespace pith::cuda

#endif  // PITH_BACKENDS_CUDA_TOP_CUH_
