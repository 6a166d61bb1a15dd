// LinearF32: tiles of the output, whose operands pass through shared memory.
//
// An output is one chain of fused multiply-adds in ascending order of the depth, then the bias:
// neither the size of the tile nor the place in it enters, so a row has the same bits among any
// others.
#include "backends/cuda/kernels.h"
#include "backends/cuda/launch.cuh"

namespace pith::cuda {
namespace {

constexpr int kDepth = 16;  // of a tile's operands
constexpr int kPack = 4;    // elements along the depth that a thread loads at once
constexpr int kPacks = kDepth / kPack;
constexpr int kSkew = 4;  // floats: what is stored side by side lies in different banks

template <class T>
struct alignas(kPack * sizeof(T)) Pack {
  T values[kPack];
};

// A tile of kRows × kCols outputs, of which a thread has kThreadRows × kThreadCols, in quads that
// are spread over the tile.
template <int kRowsOf, int kColsOf, int kThreadRowsOf, int kThreadColsOf>
struct Tile {
  static constexpr int kRows = kRowsOf, kCols = kColsOf;
  static constexpr int kThreadRows = kThreadRowsOf, kThreadCols = kThreadColsOf;
  static constexpr int kAcross = kCols / kThreadCols;  // threads
  static constexpr int kThreads = kRows / kThreadRows * kAcross;
};
using LargeTile = Tile<128, 128, 8, 8>;
using SmallTile = Tile<32, 64, 4, 4>;

// An operand [count, depth] with `stride` elements a row.
template <class T>
struct Operand {
  const T* data;
  int64_t stride;
  int64_t count;
};

// What one thread carries of kTileRows × kDepth elements on their way to shared memory.
template <class T, int kTileRows, int kThreads, bool kWide>
struct Carrier {
  static constexpr int kCount = kTileRows * kPacks / kThreads;
  static_assert(kTileRows * kPacks % kThreads == 0);
  Pack<T> packs[kCount];

  // Elements beyond the operand are zero.
  __device__ void Load(const Operand<T>& from, int64_t row, int64_t k, int64_t depth) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const int at = threadIdx.x + i * kThreads;
      const int64_t r = row + at / kPacks;
      const int64_t first = k + at % kPacks * kPack;
      const T* const source = from.data + r * from.stride + first;
      packs[i] = {};
      if (r >= from.count) continue;
      if constexpr (kWide) {
        if (first < depth) packs[i] = *reinterpret_cast<const Pack<T>*>(source);
      } else {
#pragma unroll
        for (int e = 0; e < kPack; ++e) {
          if (first + e < depth) packs[i].values[e] = source[e];
        }
      }
    }
  }

  __device__ void Store(float (*to)[kTileRows + kSkew]) const {
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const int at = threadIdx.x + i * kThreads;
#pragma unroll
      for (int e = 0; e < kPack; ++e) {
        to[at % kPacks * kPack + e][at / kPacks] = Widen(packs[i].values[e]);
      }
    }
  }
};

// The place of a thread's i-th row or column within its tile.
template <int kTileSize, int kOfThread>
__device__ constexpr int PlaceOf(int thread, int i) {
  return i / 4 * (kTileSize / (kOfThread / 4)) + thread * 4 + i % 4;
}

template <int kTileSize, int kOfThread>
__device__ void ReadQuads(const float* from, int thread, float (&to)[kOfThread]) {
#pragma unroll
  for (int i = 0; i < kOfThread; i += 4) {
    const int at = PlaceOf<kTileSize, kOfThread>(thread, i);
    *reinterpret_cast<float4*>(to + i) = *reinterpret_cast<const float4*>(from + at);
  }
}

template <class Of>
using Sums = float[Of::kThreadRows][Of::kThreadCols];

// Adds a tile's products, kDepth of them to each sum, in order.
template <class Of>
__device__ void Multiply(const float (*xs)[Of::kRows + kSkew], const float (*ws)[Of::kCols + kSkew],
                         int down, int across, Sums<Of>& sums) {
#pragma unroll
  for (int e = 0; e < kDepth; ++e) {
    __align__(16) float left[Of::kThreadRows];
    __align__(16) float right[Of::kThreadCols];
    ReadQuads<Of::kRows>(xs[e], down, left);
    ReadQuads<Of::kCols>(ws[e], across, right);
#pragma unroll
    for (int i = 0; i < Of::kThreadRows; ++i) {
#pragma unroll
      for (int j = 0; j < Of::kThreadCols; ++j) sums[i][j] = fmaf(left[i], right[j], sums[i][j]);
    }
  }
}

template <class T, class Of, bool kWide>
__global__ void __launch_bounds__(Of::kThreads, 2)
    LinearKernel(Operand<float> x, Operand<T> w, int64_t depth, const float* bias,
                 Rows<float> out) {
  __shared__ __align__(16) float xs[2][kDepth][Of::kRows + kSkew];
  __shared__ __align__(16) float ws[2][kDepth][Of::kCols + kSkew];
  const int64_t row = static_cast<int64_t>(blockIdx.x) * Of::kRows;
  const int64_t col = static_cast<int64_t>(blockIdx.y) * Of::kCols;
  const int down = threadIdx.x / Of::kAcross, across = threadIdx.x % Of::kAcross;
  Carrier<float, Of::kRows, Of::kThreads, kWide> carried_x;
  Carrier<T, Of::kCols, Of::kThreads, kWide> carried_w;
  Sums<Of> sums = {};
  int now = 1;
  for (int64_t k = -kDepth; k < depth; k += kDepth, now ^= 1) {
    const bool more = k + kDepth < depth;
    if (more) {
      carried_x.Load(x, row, k + kDepth, depth);
      carried_w.Load(w, col, k + kDepth, depth);
    }
    if (k >= 0) Multiply<Of>(xs[now], ws[now], down, across, sums);
    if (more) {
      carried_x.Store(xs[now ^ 1]);
      carried_w.Store(ws[now ^ 1]);
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < Of::kThreadRows; ++i) {
    const int64_t r = row + PlaceOf<Of::kRows, Of::kThreadRows>(down, i);
    if (r >= x.count) continue;
#pragma unroll
    for (int j = 0; j < Of::kThreadCols; ++j) {
      const int64_t c = col + PlaceOf<Of::kCols, Of::kThreadCols>(across, j);
      if (c < w.count) out[r][c] = bias != nullptr ? sums[i][j] + bias[c] : sums[i][j];
    }
  }
}

template <class T>
bool IsWide(const Operand<T>& operand, int64_t depth) {
  return depth % kPack == 0 && operand.stride % kPack == 0 &&
         reinterpret_cast<uintptr_t>(operand.data) % sizeof(Pack<T>) == 0;
}

template <class T, class Of>
void Run(const Exec& exec, const Operand<float>& x, const Operand<T>& w, int64_t depth,
         const float* bias, MatView<float> out) {
  const bool wide = IsWide(x, depth) && IsWide(w, depth);
  const auto kernel = wide ? LinearKernel<T, Of, true> : LinearKernel<T, Of, false>;
  const dim3 grid(Blocks(x.count, Of::kRows), Blocks(w.count, Of::kCols));
  Launch(exec, kernel, grid, Of::kThreads, 0, x, w, depth, bias, out);
}

}  // namespace

void LinearF32(const Exec& exec, MatView<const float> x, const WeightView& w,
               VecView<const float> bias, MatView<float> out) {
  PITH_CHECK(w.format == WeightFormat::kRows);
  if (out.empty()) return;
  const int64_t large =
      static_cast<int64_t>(Blocks(out.rows, LargeTile::kRows)) * Blocks(out.cols, LargeTile::kCols);
  const bool fills = large >= GpuOf(exec).properties().multiProcessorCount;
  VisitFloat(w.dtype, [&]<class T>() {
    const Operand<float> left = {x.data, x.stride, x.rows};
    const T* const first = static_cast<const T*>(w.data) + w.first * w.cols;
    const Operand<T> right = {first, w.cols, w.rows};
    const auto run = fills ? Run<T, LargeTile> : Run<T, SmallTile>;
    run(exec, left, right, w.cols, bias.empty() ? nullptr : bias.data, out);
  });
}

}  // namespace pith::cuda
