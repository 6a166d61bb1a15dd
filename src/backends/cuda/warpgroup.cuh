// Hopper's matrix products of a warpgroup (128 threads) on tiles in shared memory. A tile is rows
// of 128 bytes, 64 numbers, whose 16-byte pieces are swizzled: piece i of row r lies where piece i
// ^ (r % 8) would. It begins at a multiple of 1024 bytes. Lane l of warp w holds, of an accumulator
// [64, N], rows 16 w + l / 4 and that + 8, columns 8 j + 2 (l % 4) and the next one.
#ifndef PITH_BACKENDS_CUDA_WARPGROUP_CUH_
#define PITH_BACKENDS_CUDA_WARPGROUP_CUH_

#include <type_traits>

#include "backends/cuda/tensor_core.cuh"

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define PITH_HAS_WARPGROUP 1
#else
#define PITH_HAS_WARPGROUP 0
#endif

namespace pith::cuda {

constexpr int kTileBytes = 64 * 128;  // of 64 rows

// Where 16-byte piece i of row r lies in a tile.
__device__ inline int Swizzled(int row, int piece) { return row * 128 + ((piece ^ row % 8) * 16); }

// An operand's tile. Rows of eight follow each other after 1024 bytes; where the product's sum runs
// along the rows, `next` is the distance to the tile with the next 64 columns.
__device__ inline uint64_t TileAt(const void* p, int next = 16) {
  return (static_cast<uint64_t>(SharedAddress(p) & 0x3ffff) >> 4) |
         (static_cast<uint64_t>(next >> 4) << 16) | (uint64_t{1024 >> 4} << 32) |
         (uint64_t{1} << 62);
}

// What ordinary stores wrote to shared memory becomes visible to the products.
__device__ inline void FenceShared() {
#if PITH_HAS_WARPGROUP
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

#if PITH_HAS_WARPGROUP

__device__ inline void BeginProducts() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ inline void CommitProducts() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
__device__ inline void AwaitProducts() {
  asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
}

// Keeps what is computed from accumulators behind AwaitProducts.
template <int kCount>
__device__ inline void Settle(float (&d)[kCount][4]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    asm volatile("" : "+f"(d[i][0]), "+f"(d[i][1]), "+f"(d[i][2]), "+f"(d[i][3])::"memory");
  }
}

// kTransA, kTransB: the sum runs along the tile's rows, not within them. `add`: onto d.
#define PITH_D32                                                                           \
  "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, " \
  "%19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}"
#define PITH_D40                                                                           \
  "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, " \
  "%19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, "  \
  "%36, %37, %38, %39}"
#define PITH_OUT4(d, i) "+f"(d[i][0]), "+f"(d[i][1]), "+f"(d[i][2]), "+f"(d[i][3])
#define PITH_OUT32(d)                                                                  \
  PITH_OUT4(d, 0), PITH_OUT4(d, 1), PITH_OUT4(d, 2), PITH_OUT4(d, 3), PITH_OUT4(d, 4), \
      PITH_OUT4(d, 5), PITH_OUT4(d, 6), PITH_OUT4(d, 7)
#define PITH_OUT64(d)                                                                  \
  PITH_OUT32(d), PITH_OUT4(d, 8), PITH_OUT4(d, 9), PITH_OUT4(d, 10), PITH_OUT4(d, 11), \
      PITH_OUT4(d, 12), PITH_OUT4(d, 13), PITH_OUT4(d, 14), PITH_OUT4(d, 15)
#define PITH_D64                                                                               \
  "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, "     \
  "%19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, " \
  "%37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, " \
  "%55, %56, %57, %58, %59, %60, %61, %62, %63}"

// d [64, 64] = a [64, 16] · b [16, 64] (+ d), both in shared memory.
template <class T, int kTransA, int kTransB>
__device__ inline void Product64(float (&d)[8][4], uint64_t a, uint64_t b, bool add) {
#define PITH_PRODUCT(TYPE)                                                     \
  asm volatile(                                                                \
      "{\n.reg .pred p;\nsetp.ne.b32 p, %34, 0;\n"                             \
      "wgmma.mma_async.sync.aligned.m64n64k16.f32." TYPE "." TYPE " " PITH_D32 \
      ", %32, %33, p, 1, 1, %35, %36;\n}\n"                                    \
      : PITH_OUT32(d)                                                          \
      : "l"(a), "l"(b), "r"(static_cast<int>(add)), "n"(kTransA), "n"(kTransB))
  if constexpr (std::is_same_v<T, __half>) {
    PITH_PRODUCT("f16");
  } else {
    PITH_PRODUCT("bf16");
  }
#undef PITH_PRODUCT
}

// d [64, 64] += a [64, 16] · b [16, 64] with a in registers, as an operand of MultiplyAdd.
template <class T, int kTransB>
__device__ inline void ProductFrom(float (&d)[8][4], const uint32_t (&a)[4], uint64_t b) {
#define PITH_PRODUCT(TYPE)                                                              \
  asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32." TYPE "." TYPE " " PITH_D32 \
               ", {%32, %33, %34, %35}, %36, 1, 1, 1, %37;\n"                           \
               : PITH_OUT32(d)                                                          \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(kTransB))
  if constexpr (std::is_same_v<T, __half>) {
    PITH_PRODUCT("f16");
  } else {
    PITH_PRODUCT("bf16");
  }
#undef PITH_PRODUCT
}

// d [64, 128] += a [64, 16] · b [16, 128], both in shared memory.
template <class T, int kTransA, int kTransB>
__device__ inline void Product128(float (&d)[16][4], uint64_t a, uint64_t b) {
#define PITH_PRODUCT(TYPE)                                                               \
  asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32." TYPE "." TYPE " " PITH_D64 \
               ", %64, %65, 1, 1, 1, %66, %67;\n"                                        \
               : PITH_OUT64(d)                                                           \
               : "l"(a), "l"(b), "n"(kTransA), "n"(kTransB))
  if constexpr (std::is_same_v<T, __half>) {
    PITH_PRODUCT("f16");
  } else {
    PITH_PRODUCT("bf16");
  }
#undef PITH_PRODUCT
}

// d [64, 80] += a [64, 16] · b [16, 80] with a in registers, as an operand of MultiplyAdd; the sum
// runs within b's rows.
template <class T>
__device__ inline void ProductFrom80(float (&d)[10][4], const uint32_t (&a)[4], uint64_t b) {
#define PITH_PRODUCT(TYPE)                                                              \
  asm volatile("wgmma.mma_async.sync.aligned.m64n80k16.f32." TYPE "." TYPE " " PITH_D40 \
               ", {%40, %41, %42, %43}, %44, 1, 1, 1, 0;\n"                             \
               : PITH_OUT32(d), PITH_OUT4(d, 8), PITH_OUT4(d, 9)                        \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b))
  if constexpr (std::is_same_v<T, __half>) {
    PITH_PRODUCT("f16");
  } else {
    PITH_PRODUCT("bf16");
  }
#undef PITH_PRODUCT
}

#undef PITH_OUT64
#undef PITH_OUT32
#undef PITH_OUT4
#undef PITH_D64
#undef PITH_D40
#undef PITH_D32

#endif  // PITH_HAS_WARPGROUP

}  // namespace pith::cuda

#endif  // PITH_BACKENDS_CUDA_WARPGROUP_CUH_
