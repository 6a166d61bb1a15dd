// Attention page by page, with a running maximum and sum (Milakov and Gimelshein 2018; Dao et al.
// 2022, "FlashAttention"), in f32 or by tensor cores: how blocks share the work.
#include <algorithm>

#include "backends/cuda/attention_block.cuh"
#include "backends/cuda/attention_tensor.cuh"
#include "backends/cuda/kernels.h"

namespace pith::cuda {
namespace attention {
namespace {

// Grid: tiles or, where runs have blocks of their own, (tile, run); heads of keys; columns.
template <class S>
__global__ void __launch_bounds__(kThreads, 2) AttentionKernel(AttentionView args) {
  extern __shared__ float4 shared[];
  const bool apart = args.partial != nullptr;
  const int64_t index = apart ? blockIdx.x / args.runs : blockIdx.x;
  const Tile& tile = args.tiles[index];
  Block<S> block(args, tile, blockIdx.y, reinterpret_cast<float*>(shared));
  const int64_t first_col = static_cast<int64_t>(blockIdx.z) * S::kCols;
  block.TakeQueries();
  int32_t low = INT_MAX, most = -1;
  for (int row = 0; row < tile.rows; ++row) {
    low = min(low, block.positions[row]);
    most = max(most, block.positions[row]);
  }
  const int32_t least = args.FirstSeen(low);
  if (apart) {
    const int64_t run = blockIdx.x % args.runs;
    typename Block<S>::Values sums = {};
    block.SumRun(run, first_col, least, most, sums);
    block.ForValues(first_col, [&](int row, int64_t col, int r, int c) {
      float* const to = args.Partial(index, blockIdx.y, row, S::kRows, run);
      to[col] = sums[r][c];
      if (col != 0) return;
      to[args.head_dim] = block.run[row].largest;
      to[args.head_dim + 1] = block.run[row].sum;
    });
    return;
  }
  typename Block<S>::Values totals = {};
  for (int64_t run = 0; run * kRun < tile.kv.count(); ++run) {
    typename Block<S>::Values sums = {};
    block.SumRun(run, first_col, least, most, sums);
    block.AddRun(sums, totals);
  }
  block.ForValues(first_col, [&](int row, int64_t col, int r, int c) {
    args.out[block.QueryOf(row).out][block.HeadOf(row) * args.head_dim + col] =
        Quotient(totals[r][c], block.total[row].sum);
  });
}

// A block adds the runs of one row. Grid: tiles, heads of keys, rows of a tile.
__global__ void AddRunsKernel(AttentionView args) {
  const Tile& tile = args.tiles[blockIdx.x];
  const int64_t row = blockIdx.z, index = tile.first + row;
  if (row >= tile.rows) return;
  const int64_t runs = (tile.kv.count() + kRun - 1) / kRun;
  const float* const first = args.Partial(blockIdx.x, blockIdx.y, row, gridDim.z, 0);
  float* const out = args.out[tile.queries[index / args.heads].out] +
                     (blockIdx.y * args.heads + index % args.heads) * args.head_dim;
  for (int64_t col = threadIdx.x; col < args.head_dim; col += kThreads) {
    float value = 0;
    Weighed total = {kNoScore, 0};
    for (int64_t run = 0; run < runs; ++run) {
      const float* const from = first + run * (args.head_dim + 2);
      const Shares shares(total.largest, from[args.head_dim]);
      value = shares.Sum(value, from[col]);
      total = {shares.largest, shares.Sum(total.sum, from[args.head_dim + 1])};
    }
    out[col] = Quotient(value, total.sum);
  }
}

// All of the call's queries, those of a segment together.
std::vector<Query> QueriesOf(const AttentionArgs& args, std::vector<int64_t>& counts) {
  std::vector<Query> queries;
  const bool all = args.out.rows == args.q.rows;
  const auto row = [&](int64_t out) { return all ? out : args.wanted[out]; };
  int64_t next = 0;
  for (const Segment& segment : args.segments) {
    const size_t before = queries.size();
    while (next < args.out.rows && row(next) < segment.begin) ++next;
    for (; next < args.out.rows && row(next) < segment.begin + segment.count; ++next) {
      queries.push_back(
          {static_cast<int32_t>(row(next)), static_cast<int32_t>(next), args.positions[row(next)]});
    }
    counts.push_back(static_cast<int64_t>(queries.size() - before));
  }
  return queries;
}

// A kernel, and what one of its blocks takes.
struct Work {
  void (*kernel)(AttentionView);
  int rows;
  int cols;  // of the values
  unsigned threads;
  size_t bytes;
};

template <class S>
Work WorkOf(int64_t head_dim) {
  return {AttentionKernel<S>, S::kRows, S::kCols, kThreads, Block<S>::Bytes(head_dim)};
}
template <class B>
Work TensorWorkOf(void (*kernel)(AttentionView)) {
  return {kernel, B::kRows, B::kDim, B::kThreads, sizeof(typename B::Shared)};
}
template <class T, int kDim>
Work TensorWork(bool many) {
  return many ? TensorWorkOf<TensorBlock<T, kDim, false>>(TensorAttentionKernel<T, kDim, false>)
              : TensorWorkOf<TensorBlock<T, kDim, true>>(TensorAttentionKernel<T, kDim, true>);
}

template <class T>
Work TensorWork(bool narrow, bool many) {
  return narrow ? TensorWork<T, 64>(many) : TensorWork<T, 128>(many);
}

// Whether tensor cores take it. That depends on precision, head_dim and GPU alone, as bits do;
// their largest block needs more shared memory than GPUs of 8.6 and 8.9 have.
bool TakesTensorCores(const Exec& exec, int64_t head_dim) {
  if (exec.precision == Precision::kF32 || head_dim > 128 || head_dim % 8 != 0) return false;
  return TensorWork<__half>(head_dim <= 64, true).bytes <=
         GpuOf(exec).properties().sharedMemPerBlockOptin;
}

// most: rows of the longest segment.
Work Choose(const Exec& exec, const AttentionView& view, int64_t most) {
  const bool narrow = view.head_dim <= 64;
  if (TakesTensorCores(exec, view.head_dim)) {
    const bool many = most > 16;
    return exec.precision == Precision::kBF16 ? TensorWork<__nv_bfloat16>(narrow, many)
                                              : TensorWork<__half>(narrow, many);
  }
  // What one multiprocessor holds of queries decides, too.
  constexpr int64_t kLongestOfMany = 512;
  if (most > kFewRows && view.head_dim <= kLongestOfMany) {
    return narrow ? WorkOf<ManyRows<64>>(view.head_dim) : WorkOf<ManyRows<128>>(view.head_dim);
  }
  return narrow ? WorkOf<FewRows<64>>(view.head_dim) : WorkOf<FewRows<128>>(view.head_dim);
}

void Run(const Exec& exec, AttentionView view, const Work& work, const std::vector<Tile>& tiles,
         int64_t runs) {
  view.tiles = Place(exec, std::span<const Tile>(tiles));
  const auto count = static_cast<int64_t>(tiles.size()), heads = view.n_kv_heads;
  const dim3 grid(static_cast<unsigned>(count), static_cast<unsigned>(heads),
                  Blocks(view.head_dim, work.cols));
  // Many rows keep the GPU busy, and their sums would need much room.
  constexpr int kFew = 16;
  const bool apart = work.rows <= kFew && runs > 1 &&
                     count * heads < 2 * int64_t{GpuOf(exec).properties().multiProcessorCount};
  if (!apart) return Launch(exec, work.kernel, grid, work.threads, work.bytes, view);
  const Scratch<float> partial(exec, count * heads * work.rows * runs * (view.head_dim + 2));
  view.partial = partial.data();
  view.runs = runs;
  const dim3 each(static_cast<unsigned>(count * runs), grid.y, grid.z);
  Launch(exec, work.kernel, each, work.threads, work.bytes, view);
  Launch(exec, AddRunsKernel, dim3(grid.x, grid.y, static_cast<unsigned>(work.rows)), kThreads, 0,
         view);
}

void Attend(const Exec& exec, const AttentionArgs& args) {
  constexpr double kLog2E = 1.4426950408889634;
  const AttentionView view = {.q = args.q,
                              .out = args.out,
                              .n_kv_heads = args.layout.n_kv_heads,
                              .head_dim = args.layout.head_dim,
                              .heads = args.n_heads / args.layout.n_kv_heads,
                              .window = args.window,
                              .scale = static_cast<float>(args.scale * kLog2E)};
  std::vector<int64_t> counts;
  const std::vector<Query> queries = QueriesOf(args, counts);
  if (queries.empty()) return;
  const Query* at = Place(exec, std::span<const Query>(queries));
  const std::vector<PlacedPages> kv = PlacePages(exec, args.kv);
  const int64_t most = *std::max_element(counts.begin(), counts.end()) * view.heads;
  const Work work = Choose(exec, view, most);
  const int64_t rows = work.rows;
  std::vector<Tile> tiles;
  int64_t runs = 0;
  for (size_t s = 0; s < counts.size(); ++s) {
    const int64_t all = counts[s] * view.heads;
    for (int64_t first = 0; first < all; first += rows) {
      tiles.push_back({kv[s], at, static_cast<int32_t>(first),
                       static_cast<int32_t>(std::min(rows, all - first))});
    }
    if (all > 0) runs = std::max(runs, (kv[s].count() + kRun - 1) / kRun);
    at += counts[s];
  }
  std::reverse(tiles.begin(), tiles.end());  // later rows see more: the longest first
  Run(exec, view, work, tiles, runs);
}

}  // namespace
}  // namespace attention

void Attention(const Exec& exec, const AttentionArgs& args) { attention::Attend(exec, args); }

}  // namespace pith::cuda
