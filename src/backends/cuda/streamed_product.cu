// A block for each multiprocessor takes an even share of the weight's rows, which pass through its
// shared memory eight at a time. Copies of whole rows are on their way all the while, from before
// the launch that makes x has ended: it takes tens of kilobytes in flight on each multiprocessor
// to read memory at its rate, more than registers can hold beside the work. Each warp has some of
// the columns, and holds x's in registers; the warps' parts are added in order. Where a weight has
// more columns than a block's warps can hold, two blocks of a cluster share the sum. Each row of x
// is a row of the tensor cores' product, so its bits do not depend on the others.
#include "backends/cuda/streamed_product.h"

#include <algorithm>

#include "backends/cuda/streamed_product.cuh"
#include "backends/cuda/streamed_rows.cuh"
#include "backends/cuda/streamed_sums.cuh"

namespace pith::cuda {
namespace {

using namespace stream;

// kNorm: x is normed as it is read.
template <int kTiles, bool kNorm, class T, class X>
__global__ void __launch_bounds__(kThreads, kTiles == 1 ? 2 : 1) StreamKernel(StreamTask task) {
#if PITH_HAS_BULK_COPY
  extern __shared__ __align__(128) unsigned char dynamic[];
  auto& shared = *reinterpret_cast<Shared<kTiles>*>(dynamic);
  LetNextBegin();
  const Share share(task);
  const int warp = threadIdx.x / 32;
  const Stream<T> stream(task, share, dynamic + kBefore<kTiles>, shared.arrived);
  if (warp == kFiller) stream.Begin();
  Held<kTiles, T, X> held(share);
  float* const weight = NormWeight(dynamic + kBefore<kTiles>, share.columns);
  if constexpr (kNorm) held.LoadNormWeight(task, share, weight);
  if (task.split > 1) ArriveAtCluster();
  AwaitPrevious();
  const bool late = task.split > 1 || task.add;
  Late<kTiles> rest;
  rest.Load(task, share, 0);
  if constexpr (kNorm) {
    held.LoadNormed(task, share, weight);
  } else {
    held.Load(task, share);
  }
  LoadFactors(task, share, shared.factors);
  __syncthreads();
  if (task.split > 1) AwaitCluster();  // the other block has begun, and has room for sums
  for (int first = 0; first < share.count; first += kLate) {
    if (first > 0) rest.Load(task, share, first);
    const int end = min(share.tiles(), first / kRows + kGroup);
    for (int tile = first / kRows; tile < end; ++tile) {
      float sum[(kTiles + 1) / 2][2][4] = {};
      held.Multiply(stream.Await(tile), PitchOf(share.columns), sum);
      StoreParts<kTiles>(sum, shared.parts[tile % 2][warp]);
      __syncthreads();
      if (warp == kFiller) stream.Fill(tile + kStages);
      AddParts<kTiles>(task, share, late, tile, shared);
    }
    if (!late) continue;
    __syncthreads();
    if (task.split > 1) {
      ArriveAtCluster();
      AwaitCluster();
    }
    rest.Finish(task, share, shared, first);
  }
  rest.StoreSquares(task, share);
#endif
}

// Blocks that share a sum.
int SplitOf(const WeightView& w) { return w.cols > kMostColumns ? kMostSplit : 1; }

// Even shares of the weight's rows, each of a block or a cluster.
int64_t GroupsOf(const Exec& exec, const WeightView& w) {
  const int64_t blocks = GpuOf(exec).properties().multiProcessorCount / SplitOf(w);
  return std::min(blocks, (w.rows + kRows - 1) / kRows);
}

template <class T, class X, bool kNorm, int kTiles>
void RunTiles(const Exec& exec, const StreamTask& task, int64_t groups) {
  const int columns = task.cols / task.split;
  LaunchClusters(exec, StreamKernel<kTiles, kNorm, T, X>,
                 static_cast<unsigned>(groups * task.split), kThreads,
                 SharedBytes<kTiles, kNorm>(columns), static_cast<unsigned>(task.split), task);
}

template <class T, class X, bool kNorm = false>
void Run(const Exec& exec, const StreamedProductArgs& args) {
  const ProductArgs& product = args.product;
  const int64_t groups = GroupsOf(exec, product.w);
  for (int64_t first = 0; first < product.rows; first += 8 * kMostTiles) {
    const int64_t rows = std::min<int64_t>(8 * kMostTiles, product.rows - first);
    StreamTask task{.x = static_cast<const X*>(product.x) + first * product.x_stride,
                    .x_stride = product.x_stride,
                    .rows = static_cast<int>(rows),
                    .w = static_cast<const T*>(product.w.data) + product.w.first * product.w.cols,
                    .w_rows = static_cast<int>(product.w.rows),
                    .cols = static_cast<int>(product.w.cols),
                    .split = SplitOf(product.w),
                    .bias = product.bias.data,
                    .out = static_cast<float*>(product.out) + first * product.out_stride,
                    .out_stride = product.out_stride,
                    .add = args.add,
                    .factors = args.factors,
                    .made_squares = nullptr,
                    .made_stride = args.squares.stride,
                    .made_parts = static_cast<int>(args.squares.cols),
                    .norm = {}};
    if (!args.squares.empty()) task.made_squares = args.squares.Row(first);
    if constexpr (kNorm) {
      const AddNormArgs& norm = *args.norm;
      task.x = norm.x.Row(first);
      task.x_stride = norm.x.stride;
      task.norm = {.squares = norm.squares.Row(first),
                   .stride = norm.squares.stride,
                   .parts = static_cast<int>(norm.squares.cols),
                   .weight = norm.weight.data,
                   .eps = norm.eps};
    }
    if (args.factors.squares != nullptr) task.factors.squares += first * args.factors.parts;
    if (rows <= 8) {
      RunTiles<T, X, kNorm, 1>(exec, task, groups);
    } else if (rows <= 16) {
      RunTiles<T, X, kNorm, 2>(exec, task, groups);
    } else {
      RunTiles<T, X, kNorm, kMostTiles>(exec, task, groups);
    }
  }
}

}  // namespace

bool TakesStreamedProduct(const Exec& exec, const WeightView& w) {
  const int64_t split = SplitOf(w);
  const cudaDeviceProp& gpu = GpuOf(exec).properties();
  return gpu.major >= 9 && w.dtype != DType::kF32 && w.cols > 0 &&
         w.cols % (split * kColumns) == 0 && w.cols <= split * kMostColumns &&
         // for any number of rows, and with a norm or without, so that bits depend on neither
         SharedBytes<kMostTiles, true>(static_cast<int>(w.cols / split)) <=
             gpu.sharedMemPerBlockOptin;
}

bool TakesStreamedNorm(const Exec& exec, const AddNormArgs& norm, const WeightView& w) {
  return !norm.squares.empty() && norm.squares.cols % 4 == 0 && norm.squares.stride % 4 == 0 &&
         norm.add.empty() && norm.sum.empty() && !norm.layer_norm && norm.x.stride % 4 == 0 &&
         TakesStreamedProduct(exec, w);
}

int64_t StreamedSquares(const Exec& exec, const WeightView& w) {
  return (GroupsOf(exec, w) + 3) / 4 * 4;
}

void StreamedProduct(const Exec& exec, const StreamedProductArgs& args) {
  const ProductArgs& product = args.product;
  PITH_CHECK(TakesStreamedProduct(exec, product.w) && product.out_type == DType::kF32);
  if (product.rows == 0 || product.w.rows == 0) return;
  PITH_CHECK(args.squares.empty() || (args.add && args.squares.rows >= product.rows &&
                                      args.squares.cols == StreamedSquares(exec, product.w)));
  PITH_CHECK(args.norm == nullptr || args.norm->squares.rows >= product.rows);
  const bool bf16 = product.w.dtype == DType::kBF16;
  if (args.norm != nullptr) {
    (bf16 ? Run<__nv_bfloat16, float, true> : Run<__half, float, true>)(exec, args);
  } else if (product.x_f32) {
    (bf16 ? Run<__nv_bfloat16, float> : Run<__half, float>)(exec, args);
  } else {
    (bf16 ? Run<__nv_bfloat16, __nv_bfloat16> : Run<__half, __half>)(exec, args);
  }
}

}  // namespace pith::cuda
