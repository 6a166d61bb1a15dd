// Tensor-core products of 16 × 8 × 16 tiles, and what brings their operands from shared memory.
// Lane l of a warp holds, of an accumulator [16, 8]: rows l / 4 and l / 4 + 8, columns 2 (l % 4)
// and the next one.
#ifndef PITH_BACKENDS_CUDA_TENSOR_CORE_CUH_
#define PITH_BACKENDS_CUDA_TENSOR_CORE_CUH_

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

namespace pith::cuda {

// Two 16-bit numbers in a register.
template <class T>
struct Pair;
template <>
struct Pair<__nv_bfloat16> {
  using Type = __nv_bfloat162;
  __device__ static Type From(float a, float b) { return __floats2bfloat162_rn(a, b); }
  // An instruction each, where __bfloat1622float2 takes three.
  __device__ static float2 Widen(Type v) {
    const uint32_t bits = reinterpret_cast<const uint32_t&>(v);
    return {__uint_as_float(bits << 16), __uint_as_float(bits & 0xffff0000u)};
  }
};
template <>
struct Pair<__half> {
  using Type = __half2;
  __device__ static Type From(float a, float b) { return __floats2half2_rn(a, b); }
  __device__ static float2 Widen(Type v) { return __half22float2(v); }
};

template <class T>
__device__ inline uint32_t Pack(float a, float b) {
  const auto pair = Pair<T>::From(a, b);
  return reinterpret_cast<const uint32_t&>(pair);
}
template <class T>
__device__ inline float2 Unpack(uint32_t bits) {
  return Pair<T>::Widen(reinterpret_cast<const typename Pair<T>::Type&>(bits));
}
template <class T>
__device__ inline uint32_t Multiply(uint32_t a, uint32_t b) {
  using Type = typename Pair<T>::Type;
  const Type product = __hmul2(reinterpret_cast<const Type&>(a), reinterpret_cast<const Type&>(b));
  return reinterpret_cast<const uint32_t&>(product);
}

__device__ inline uint32_t SharedAddress(const void* p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

// Four 8 × 8 tiles; lane l gives the address of row l % 8 of tile l / 8.
__device__ inline void LoadTiles(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(SharedAddress(row)));
}
__device__ inline void LoadTilesTransposed(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(SharedAddress(row)));
}

// Back to where LoadTiles finds them. Lane l gives the address of row l % 8 of tile l / 8.
__device__ inline void StoreTiles(uint32_t row, const uint4& r) {
#if __CUDA_ARCH__ >= 900
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(row),
               "r"(r.x), "r"(r.y), "r"(r.z), "r"(r.w)
               : "memory");
#endif
}

// sum += a [16, 16] · b [16, 8].
template <class T>
__device__ inline void MultiplyAdd(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0,
                                   uint32_t b1);
template <>
__device__ inline void MultiplyAdd<__nv_bfloat16>(float (&sum)[4], const uint32_t (&a)[4],
                                                  uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
template <>
__device__ inline void MultiplyAdd<__half>(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0,
                                           uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// 16 bytes from device to shared memory, behind the thread's back; zeros where `valid` is false.
__device__ inline void CopyAsync(void* to, const void* from, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(SharedAddress(to)), "l"(from),
               "r"(valid ? 16 : 0)
               : "memory");
}
__device__ inline void CopyAsync8(void* to, const void* from, bool valid) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;" ::"r"(SharedAddress(to)), "l"(from),
               "r"(valid ? 8 : 0)
               : "memory");
}
// The line at p into the L2, some time soon.
__device__ inline void Prefetch(const void* p) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(p));
}
__device__ inline void CommitCopies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Until at most kLeft groups of copies are on their way.
template <int kLeft>
__device__ inline void AwaitCopies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
}

}  // namespace pith::cuda

#endif  // PITH_BACKENDS_CUDA_TENSOR_CORE_CUH_
