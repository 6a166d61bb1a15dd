#include "backends/cuda/norm16.cuh"

#include <algorithm>

#include "backends/cuda/e4m3.cuh"
#include "backends/cuda/launch.cuh"
#include "backends/cuda/tensor_core.cuh"

namespace pith::cuda {
namespace {

constexpr int kMostQuads = 2;  // of columns that a thread holds
constexpr int kMostThreads = 1024;
static_assert(kWidestNorm == int64_t{4} * kMostQuads * kMostThreads);

// The sum over a block of any whole number of warps, the same in all threads, in a fixed order.
__device__ float SumOverBlock(float v, float* parts) {
  v = WarpSum(v);
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = v;
  __syncthreads();
  float sum = 0;
  for (int w = 0; w < static_cast<int>(blockDim.x) / 32; ++w) sum += parts[w];
  __syncthreads();
  return sum;
}

__device__ float FactorOf(const CompactRows& rows, int64_t row, float* parts) {
  if (rows.squares == nullptr) return 1;
  float sum = 0;
  for (int64_t i = threadIdx.x; i < rows.parts; i += blockDim.x) {
    sum += rows.squares[row * rows.parts + i];
  }
  return rsqrtf(SumOverBlock(sum, parts) / static_cast<float>(rows.width) + rows.eps);
}

struct NormTask {
  Rows<const float> x;
  Rows<const float> add;  // or null
  CompactRows compact;    // or empty
  Rows<float> sum;        // or null
  const float* weight;    // or null
  float eps;
  int cols;
};

// A block a row. All that it reads is on its way before the first sum. With `scales` out is e4m3,
// rounded from what it is without.
template <int kQuads, bool kE4M3, class T>
__global__ void AddNormRows(NormTask task, void* out, float* scales) {
  __shared__ float parts[kMostThreads / 32];
  LetNextBegin();
  AwaitPrevious();
  const int64_t row = blockIdx.x;
  const T* const compact = static_cast<const T*>(task.compact.data) + row * task.cols;
  float4 v[kQuads], add[kQuads];
#pragma unroll
  for (int q = 0; q < kQuads; ++q) {
    const int c = 4 * (threadIdx.x + q * blockDim.x);
    v[q] = add[q] = {0, 0, 0, 0};
    if (c >= task.cols) continue;
    v[q] = *reinterpret_cast<const float4*>(task.x[row] + c);
    if (task.compact.data != nullptr) {
      const uint2 raw = *reinterpret_cast<const uint2*>(compact + c);
      const float2 low = Unpack<T>(raw.x), high = Unpack<T>(raw.y);
      add[q] = {low.x, low.y, high.x, high.y};
    } else if (task.add.data != nullptr) {
      add[q] = *reinterpret_cast<const float4*>(task.add[row] + c);
    }
  }
  const float factor = task.compact.data == nullptr ? 1 : FactorOf(task.compact, row, parts);
  float square = 0;
#pragma unroll
  for (int q = 0; q < kQuads; ++q) {
    const int c = 4 * (threadIdx.x + q * blockDim.x);
    if (c >= task.cols) continue;
    // Two roundings, as where ExpandRows and AddRows do it.
    v[q] = {__fadd_rn(__fmul_rn(factor, add[q].x), v[q].x),
            __fadd_rn(__fmul_rn(factor, add[q].y), v[q].y),
            __fadd_rn(__fmul_rn(factor, add[q].z), v[q].z),
            __fadd_rn(__fmul_rn(factor, add[q].w), v[q].w)};
    if (task.sum.data != nullptr) StoreWhole(task.sum[row] + c, v[q]);
    square += v[q].x * v[q].x + v[q].y * v[q].y + v[q].z * v[q].z + v[q].w * v[q].w;
  }
  const float mean = SumOverBlock(square, parts) / static_cast<float>(task.cols);
  const float scale = rsqrtf(mean + task.eps);
  uint2 rounded[kQuads];
  float most = 0;
#pragma unroll
  for (int q = 0; q < kQuads; ++q) {
    const int c = 4 * (threadIdx.x + q * blockDim.x);
    if (c >= task.cols) continue;
    float4 w{1, 1, 1, 1};
    if (task.weight != nullptr) w = *reinterpret_cast<const float4*>(task.weight + c);
    rounded[q] = {Pack<T>(v[q].x * scale * w.x, v[q].y * scale * w.y),
                  Pack<T>(v[q].z * scale * w.z, v[q].w * scale * w.w)};
    if constexpr (kE4M3) {
      const float2 low = Unpack<T>(rounded[q].x), high = Unpack<T>(rounded[q].y);
      most = fmaxf(most,
                   fmaxf(fmaxf(fabsf(low.x), fabsf(low.y)), fmaxf(fabsf(high.x), fabsf(high.y))));
    } else {
      StoreWhole(static_cast<T*>(out) + row * task.cols + c, rounded[q]);
    }
  }
  if constexpr (kE4M3) {
    const E4M3Scale to(MaxOverBlock(most, parts));
    if (threadIdx.x == 0) scales[row] = to.down;
#pragma unroll
    for (int q = 0; q < kQuads; ++q) {
      const int c = 4 * (threadIdx.x + q * blockDim.x);
      if (c >= task.cols) continue;
      *reinterpret_cast<uint32_t*>(static_cast<uint8_t*>(out) + row * task.cols + c) =
          to.Round(Unpack<T>(rounded[q].x), Unpack<T>(rounded[q].y));
    }
  }
}

__device__ float4 LoadQuad(const float* from) { return *reinterpret_cast<const float4*>(from); }
template <class T>
__device__ float4 LoadQuad(const T* from) {
  const uint2 raw = *reinterpret_cast<const uint2*>(from);
  const float2 low = Unpack<T>(raw.x), high = Unpack<T>(raw.y);
  return {low.x, low.y, high.x, high.y};
}

// Where `from` is null, scales what `out` holds. All that a thread reads first is on its way before
// the factor.
template <class T>
__global__ void ScaleRowsKernel(CompactRows rows, const T* from, const int64_t* wanted,
                                Rows<float> out, int64_t cols) {
  __shared__ float parts[kMostThreads / 32];
  const int64_t row = wanted != nullptr ? wanted[blockIdx.x] : blockIdx.x;
  float* const to = out[blockIdx.x];
  const auto load = [&](int64_t c) {
    if (c >= cols) return float4{0, 0, 0, 0};
    return from != nullptr ? LoadQuad(from + row * cols + c) : LoadQuad(to + c);
  };
  const int64_t step = int64_t{4} * blockDim.x;
  float4 next = load(4 * threadIdx.x);
  const float factor = FactorOf(rows, row, parts);
  for (int64_t c = 4 * threadIdx.x; c < cols; c += step) {
    const float4 v = next;
    next = load(c + step);
    StoreWhole(to + c, float4{factor * v.x, factor * v.y, factor * v.z, factor * v.w});
  }
}

template <class T>
__global__ void WidenColumnsKernel(const T* from, int64_t stride, Rows<float> out, int64_t cols) {
  const int64_t row = blockIdx.x;
  for (int64_t c = threadIdx.x; c < cols; c += blockDim.x) {
    out[row][c] = static_cast<float>(from[row * stride + c]);
  }
}

template <class T>
__global__ void GatherKernel(const T* from, const int64_t* wanted, int64_t cols, T* out) {
  const int64_t row = wanted[blockIdx.x];
  for (int64_t c = threadIdx.x; c < cols; c += blockDim.x) {
    out[blockIdx.x * cols + c] = from[row * cols + c];
  }
}

constexpr int kThreads = 256;

template <bool kE4M3, class T>
void LaunchNorm(const Exec& exec, const AddNormArgs& args, const CompactRows& compact, void* out,
                float* scales) {
  const int64_t cols = args.x.cols;
  PITH_CHECK(cols % 4 == 0 && cols <= kWidestNorm && args.x.stride % 4 == 0);
  const bool one = cols / 4 <= kMostThreads;
  const int64_t threads = one ? cols / 4 : (cols / 4 + kMostQuads - 1) / kMostQuads;
  const NormTask task{.x = args.x,
                      .add = args.add,
                      .compact = compact,
                      .sum = args.sum,
                      .weight = args.weight.data,
                      .eps = args.eps,
                      .cols = static_cast<int>(cols)};
  const auto kernel = one ? AddNormRows<1, kE4M3, T> : AddNormRows<kMostQuads, kE4M3, T>;
  LaunchEarly(exec, kernel, static_cast<unsigned>(args.x.rows), Blocks(threads, 32) * 32, 0, task,
              out, scales);
}

}  // namespace

template <class T>
void AddNormRounded(const Exec& exec, const AddNormArgs& args, const CompactRows& compact, T* out) {
  LaunchNorm<false, T>(exec, args, compact, out, nullptr);
}

template <class T>
void AddNormProduct(const Exec& exec, const AddNormArgs& args, const CompactRows& compact,
                    ProductArgs product, T* normed) {
  product.x = normed;
  product.x_stride = args.x.cols;
  product.rows = args.x.rows;
  if (!ReadsE4M3(exec, product)) {
    AddNormRounded(exec, args, compact, normed);
    return Product(exec, product);
  }
  const Scratch<float> scales(exec, args.x.rows);
  LaunchNorm<true, T>(exec, args, compact, normed, scales.data());
  product.x_scales = scales.data();
  Product(exec, product);
}

template <class T>
void WidenRows(const Exec& exec, const CompactRows& rows, const int64_t* wanted,
               MatView<float> out) {
  PITH_CHECK(out.cols % 4 == 0 && out.stride % 4 == 0);
  Launch(exec, ScaleRowsKernel<T>, static_cast<unsigned>(out.rows), kThreads, 0, rows,
         static_cast<const T*>(rows.data), wanted, Rows<float>(out), out.cols);
}

void ScaleRows(const Exec& exec, const CompactRows& rows, const int64_t* wanted, MatView<float> h) {
  if (rows.squares == nullptr) return;
  PITH_CHECK(h.cols % 4 == 0 && h.stride % 4 == 0);
  Launch(exec, ScaleRowsKernel<float>, static_cast<unsigned>(h.rows), kThreads, 0, rows,
         static_cast<const float*>(nullptr), wanted, Rows<float>(h), h.cols);
}

template <class T>
void WidenColumns(const Exec& exec, const T* from, int64_t stride, MatView<float> out) {
  Launch(exec, WidenColumnsKernel<T>, static_cast<unsigned>(out.rows), 128, 0, from, stride,
         Rows<float>(out), out.cols);
}

template <class T>
void GatherRounded(const Exec& exec, const T* from, const int64_t* wanted, int64_t rows,
                   int64_t cols, T* out) {
  Launch(exec, GatherKernel<T>, static_cast<unsigned>(rows), kThreads, 0, from, wanted, cols, out);
}

#define PITH_INSTANTIATE(T)                                                                      \
  template void AddNormRounded(const Exec&, const AddNormArgs&, const CompactRows&, T*);         \
  template void AddNormProduct(const Exec&, const AddNormArgs&, const CompactRows&, ProductArgs, \
                               T*);                                                              \
  template void WidenRows<T>(const Exec&, const CompactRows&, const int64_t*, MatView<float>);   \
  template void WidenColumns(const Exec&, const T*, int64_t, MatView<float>);                    \
  template void GatherRounded(const Exec&, const T*, const int64_t*, int64_t, int64_t, T*);
PITH_INSTANTIATE(__nv_bfloat16)
PITH_INSTANTIATE(__half)
#undef PITH_INSTANTIATE

}  // namespace pith::cuda
