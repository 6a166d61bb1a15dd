// Bulk copies from device to shared memory, which bring whole rows behind the threads' backs, and
// the barriers that tell of their arrival; clusters of blocks that share a sum. Compute capability
// 9.0 and later.
#ifndef PITH_BACKENDS_CUDA_BULK_COPY_CUH_
#define PITH_BACKENDS_CUDA_BULK_COPY_CUH_

#include <cstdint>

#include "backends/cuda/tensor_core.cuh"

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
#define PITH_HAS_BULK_COPY 1
#else
#define PITH_HAS_BULK_COPY 0
#endif

namespace pith::cuda {

#if PITH_HAS_BULK_COPY

// One arrival and the bytes that it expects complete a phase. By one thread; the others of its warp
// may use the barrier behind __syncwarp, those of the block behind __syncthreads.
__device__ inline void InitArrival(uint64_t* barrier) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(SharedAddress(barrier)) : "memory");
}
__device__ inline void PublishArrivals() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
__device__ inline void ExpectBytes(uint64_t* barrier, uint32_t bytes) {
  asm volatile(
      "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(SharedAddress(barrier)),
      "r"(bytes)
      : "memory");
}
// Until the phases of this parity are complete.
__device__ inline void AwaitArrival(uint64_t* barrier, uint32_t parity) {
  asm volatile(
      "{\n.reg .pred arrived;\nAWAIT_%=:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 arrived, [%0], %1;\n"
      "@!arrived bra AWAIT_%=;\n}\n" ::"r"(SharedAddress(barrier)),
      "r"(parity)
      : "memory");
}

// For what is read once: the first to leave the L2.
__device__ inline uint64_t ReadOncePolicy() {
  uint64_t policy;
  asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
  return policy;
}

// Multiples of 16 bytes, from and to multiples of 16.
__device__ inline void CopyBulk(void* to, const void* from, uint32_t bytes, uint64_t* barrier,
                                uint64_t policy) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], "
      "[%1], %2, [%3], %4;" ::"r"(SharedAddress(to)),
      "l"(from), "r"(bytes), "r"(SharedAddress(barrier)), "l"(policy)
      : "memory");
}

// A barrier of all threads of a cluster, in two halves. What was written before the first is seen
// after the second.
__device__ inline void ArriveAtCluster() {
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
}
__device__ inline void AwaitCluster() {
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}
// Writes to the same place in the shared memory of another block of the cluster.
__device__ inline void StoreInBlock(uint32_t rank, float* place, float value) {
  uint32_t address;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;"
               : "=r"(address)
               : "r"(SharedAddress(place)), "r"(rank));
  asm volatile("st.shared::cluster.f32 [%0], %1;" ::"r"(address), "f"(value) : "memory");
}

#endif  // PITH_HAS_BULK_COPY

}  // namespace pith::cuda

#endif  // PITH_BACKENDS_CUDA_BULK_COPY_CUH_
