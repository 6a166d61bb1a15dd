// What a streamed product multiplies the weight with: rows of x as operands, and the norm in front
// of them.
#ifndef PITH_BACKENDS_CUDA_STREAMED_ROWS_CUH_
#define PITH_BACKENDS_CUDA_STREAMED_ROWS_CUH_

#include "backends/cuda/streamed_product.cuh"

namespace pith::cuda::stream {

template <class T>
__device__ inline uint4 Round8(const float4& a, const float4& b) {
  return {Pack<T>(a.x, a.y), Pack<T>(a.z, a.w), Pack<T>(b.x, b.y), Pack<T>(b.z, b.w)};
}

// Eight columns of a row of x, rounded to T.
template <class T>
__device__ inline uint4 LoadX(const T* x) {
  return *reinterpret_cast<const uint4*>(x);
}
template <class T>
__device__ inline uint4 LoadX(const float* x) {
  return Round8<T>(reinterpret_cast<const float4*>(x)[0], reinterpret_cast<const float4*>(x)[1]);
}
__device__ inline float4 Scaled(const float4& x, float scale, const float4& weight) {
  return {x.x * scale * weight.x, x.y * scale * weight.y, x.z * scale * weight.z,
          x.w * scale * weight.w};
}

#if PITH_HAS_BULK_COPY

__device__ inline float* NormWeight(unsigned char* ring, int columns) {
  return reinterpret_cast<float*>(ring + RingBytes(columns));
}

// The factor of the norm in front of the lane's row of a tile of x, whose four lanes share the
// parts.
__device__ inline float NormFactor(const StreamTask& task, int row) {
  const auto* const parts = reinterpret_cast<const float4*>(
      task.norm.squares + min(row, task.rows - 1) * task.norm.stride);
  constexpr int kQuads = 5;  // on their way together: all, where two blocks share a sum
  float sum = 0;
  for (int first = 0; first < task.norm.parts / 4; first += 4 * kQuads) {
    float4 v[kQuads];
#pragma unroll
    for (int q = 0; q < kQuads; ++q) {
      const int i = first + static_cast<int>(threadIdx.x) % 4 + 4 * q;
      v[q] = i < task.norm.parts / 4 ? parts[i] : float4{0, 0, 0, 0};
    }
#pragma unroll
    for (int q = 0; q < kQuads; ++q) sum += v[q].x + v[q].y + v[q].z + v[q].w;
  }
  sum += __shfl_xor_sync(~0u, sum, 1);
  sum += __shfl_xor_sync(~0u, sum, 2);
  return rsqrtf(sum / static_cast<float>(task.cols) + task.norm.eps);
}

// A warp's columns of x, for all its rows, as operands.
template <int kTiles, class T, class X>
struct Held {
  int first;  // step
  int steps;
  uint4 x[kTiles][kSteps];

  __device__ explicit Held(const Share& share) {
    const int warp = threadIdx.x / 32;
    const int all = share.columns / kColumns;
    first = warp * all / kWarps;
    steps = (warp + 1) * all / kWarps - first;
  }
  __device__ int column() const { return first * kColumns + threadIdx.x % 4 * 8; }
  // The warp's columns of the norm's weight, before the launch that makes x has ended.
  __device__ void LoadNormWeight(const StreamTask& task, const Share& share, float* weight) const {
    for (int i = threadIdx.x % 32; i < steps * kColumns; i += 32) {
      const int c = first * kColumns + i;
      weight[c] = task.norm.weight != nullptr ? task.norm.weight[share.column() + c] : 1.0f;
    }
    __syncwarp();
  }
  __device__ void LoadNormed(const StreamTask& task, const Share& share, const float* weight) {
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
      const int row = 8 * tile + threadIdx.x % 32 / 4;
      const bool there = row < task.rows;
      const float* const from =
          static_cast<const float*>(task.x) + row * task.x_stride + share.column();
      float4 raw[kSteps][2];
#pragma unroll
      for (int s = 0; s < kSteps; ++s) {
        raw[s][0] = raw[s][1] = {0, 0, 0, 0};
        if (!there || s >= steps) continue;
        const auto* const at = reinterpret_cast<const float4*>(from + column() + s * kColumns);
        raw[s][0] = at[0];
        raw[s][1] = at[1];
      }
      const float factor = NormFactor(task, row);
#pragma unroll
      for (int s = 0; s < kSteps; ++s) {
        x[tile][s] = make_uint4(0, 0, 0, 0);
        if (s >= steps) continue;
        const auto* const w = reinterpret_cast<const float4*>(weight + column() + s * kColumns);
        x[tile][s] = Round8<T>(Scaled(raw[s][0], factor, w[0]), Scaled(raw[s][1], factor, w[1]));
      }
    }
  }
  __device__ void Load(const StreamTask& task, const Share& share) {
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
      const int row = 8 * tile + threadIdx.x % 32 / 4;
      const bool there = row < task.rows;
      const X* const from = static_cast<const X*>(task.x) + row * task.x_stride;
#pragma unroll
      for (int s = 0; s < kSteps; ++s) {
        const int c = share.column() + column() + s * kColumns;
        x[tile][s] = make_uint4(0, 0, 0, 0);
        if (there && s < steps) x[tile][s] = LoadX<T>(from + c);
      }
    }
  }
  // Two sums side by side: a product waits for the one before it.
  __device__ void Multiply(const unsigned char* tile, int pitch,
                           float (&sum)[(kTiles + 1) / 2][2][4]) const {
    const unsigned char* const row =
        tile + threadIdx.x % 32 / 4 * pitch + column() * static_cast<int>(sizeof(T));
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
      if (s >= steps) continue;
      const uint4 w = *reinterpret_cast<const uint4*>(row + s * kColumns * sizeof(T));
#pragma unroll
      for (int t = 0; t < kTiles; t += 2) {
        const uint4 a = x[t][s];
        const uint4 b = t + 1 < kTiles ? x[t + 1 < kTiles ? t + 1 : t][s] : make_uint4(0, 0, 0, 0);
        MultiplyAdd<T>(sum[t / 2][0], {a.x, b.x, a.y, b.y}, w.x, w.y);
        MultiplyAdd<T>(sum[t / 2][1], {a.z, b.z, a.w, b.w}, w.z, w.w);
      }
    }
  }
};

#endif  // PITH_HAS_BULK_COPY

}  // namespace pith::cuda::stream

#endif  // PITH_BACKENDS_CUDA_STREAMED_ROWS_CUH_
