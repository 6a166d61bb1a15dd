// The one matrix-product kernel of the CPU backend, compiled once per SIMD target.
//
// Every element of a product is a single chain of fused multiply-adds in ascending k, whatever the
// tile it is computed in. Its bits therefore cannot depend on the number of rows, on a row's place
// or on threads, and short inputs need no padding. That is why this is not a library's product.
#if defined(PITH_BACKENDS_CPU_GEMM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PITH_BACKENDS_CPU_GEMM_INL_H_
#undef PITH_BACKENDS_CPU_GEMM_INL_H_
#else
#define PITH_BACKENDS_CPU_GEMM_INL_H_
#endif

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "backends/cpu/math-inl.h"
#include "core/tensor.h"

HWY_BEFORE_NAMESPACE();
namespace pith::cpu::HWY_NAMESPACE {
// A tile holds kTileRows × 2 vectors of sums: 24 of AVX-512's 32 registers, 12 of AVX2's 16.
inline constexpr int kTileRows = kLanes >= 16 ? 12 : 6;
inline constexpr int64_t kTileCols = 2 * kLanes;
// Depth of a block: the left tile (kTileRows × kDepth floats) stays in L1. The stride keeps its
// rows off each other's cache sets, and is a constant so that one register addresses them all.
inline constexpr int64_t kDepth = 256;
inline constexpr int64_t kLeftStride = kDepth + 16;

// store(r, j, sum) for rows r < kRows and vectors j < 2 of left · right. left [kRows, depth] with
// stride kLeftStride; right [depth, kTileCols] with stride right_stride, readable to its full
// width.
template <int kRows, class T, class Store>
HWY_INLINE void MultiplyTile(const float* HWY_RESTRICT left, const T* HWY_RESTRICT right,
                             int64_t right_stride, int64_t depth, const Store& store) {
  const D d;
  V sums[kRows][2];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) sums[r][0] = sums[r][1] = hn::Zero(d);
  for (int64_t k = 0; k < depth; ++k) {
    const V right0 = LoadWide(d, right + k * right_stride);
    const V right1 = LoadWide(d, right + k * right_stride + kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const V l = hn::Set(d, left[r * kLeftStride + k]);
      sums[r][0] = hn::MulAdd(l, right0, sums[r][0]);
      sums[r][1] = hn::MulAdd(l, right1, sums[r][1]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    store(r, 0, sums[r][0]);
    store(r, 1, sums[r][1]);
  }
}

constexpr int SmallerTile(int rows) { return rows == 12 ? 8 : rows == 6 ? 4 : rows / 2; }

// The same for any number of rows up to kTileRows.
template <int kRows = kTileRows, class T, class Store>
HWY_INLINE void MultiplyRows(int64_t rows, const float* left, const T* right, int64_t right_stride,
                             int64_t depth, const Store& store, int64_t first = 0) {
  for (; rows - first >= kRows; first += kRows) {
    MultiplyTile<kRows>(left + first * kLeftStride, right, right_stride, depth,
                        [&](int64_t r, int j, V sum) HWY_ATTR { store(first + r, j, sum); });
  }
  if constexpr (kRows > 1) {
    MultiplyRows<SmallerTile(kRows)>(rows, left, right, right_stride, depth, store, first);
  }
}

// out (+)= left · right, for out and right whose width is padded to a multiple of kTileCols. With
// `causal`, left is lower triangular and the terms above its diagonal are skipped by tiles.
struct Product {
  MatView<const float> left;  // [rows, depth]
  const float* right = nullptr;
  int64_t right_stride = 0;
  MatView<float> out;  // [rows, width]
  bool accumulate = false;
  bool causal = false;
};

inline void Multiply(const Product& product) {
  const D d;
  HWY_ALIGN float tile[kTileRows * kLeftStride];
  for (int64_t row = 0; row < product.left.rows; row += kTileRows) {
    const int64_t rows = std::min<int64_t>(kTileRows, product.left.rows - row);
    const int64_t all =
        product.causal ? std::min(row + rows, product.left.cols) : product.left.cols;
    for (int64_t k0 = 0; k0 < all; k0 += kDepth) {
      const int64_t depth = std::min(kDepth, all - k0);
      for (int64_t r = 0; r < rows; ++r) {
        std::memcpy(tile + r * kLeftStride, product.left.Row(row + r) + k0, depth * sizeof(float));
      }
      const bool add = product.accumulate || k0 > 0;
      for (int64_t col = 0; col < product.out.cols; col += kTileCols) {
        float* const out = product.out.Row(row) + col;
        MultiplyRows(rows, tile, product.right + k0 * product.right_stride + col,
                     product.right_stride, depth, [&](int64_t r, int j, V sum) HWY_ATTR {
                       float* const at = out + r * product.out.stride + j * kLanes;
                       hn::Store(add ? hn::Add(hn::Load(d, at), sum) : sum, d, at);
                     });
      }
    }
  }
}

}  // namespace pith::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // PITH_BACKENDS_CPU_GEMM_INL_H_
