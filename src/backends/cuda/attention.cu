// Attention in f32, page by page, with a running maximum and sum (Milakov and Gimelshein 2018; Dao
// et al. 2022, "FlashAttention"), without tensor cores.
//
// A block has some rows, which are heads of queries that read the same head of keys. A score is one
// chain of multiply-adds over head_dim, a page's part of a value one chain over the page's rows in
// order; a key that is not seen weighs exactly 0 and changes nothing. Pages are summed in runs of
// kRun, and the runs in order. So a row's bits depend neither on the rows beside it nor on their
// number, nor on whether one block sums all runs or each has a block of its own.
#include <cfloat>
#include <climits>

#include "backends/cuda/attention.cuh"
#include "backends/cuda/kernels.h"
#include "backends/cuda/launch.cuh"

namespace pith::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kPage = static_cast<int>(kKvPageRows);
constexpr int64_t kRun = 8;
constexpr int kScoreStride = kPage + 4;  // floats: rows lie in different banks
constexpr int kBlockCols = 128;          // of the values

// How the threads share a block's rows, keys and columns.
template <int kRowsOf, int kThreadRowsOf>
struct Shape {
  static constexpr int kRows = kRowsOf, kThreadRows = kThreadRowsOf;
  static constexpr int kAcross = kThreads * kThreadRows / kRows;
  static constexpr int kThreadKeys = kPage / kAcross;
  static constexpr int kThreadCols = kBlockCols / kAcross;
};
using ManyRows = Shape<64, 4>;
using FewRows = Shape<8, 1>;

struct Query {
  int32_t row;  // of q
  int32_t out;  // row of out
  int32_t position;
};

// Rows of one sequence: numbered (query, head among those that read one head of keys).
struct Tile {
  PlacedPages kv;
  const Query* queries;  // the sequence's
  int32_t first, rows;
};

struct AttentionView {
  Rows<const float> q;
  Rows<float> out;
  const Tile* tiles;
  int64_t n_kv_heads, head_dim, heads;  // heads: that read one head of keys
  int64_t window;
  float scale;     // times log₂ e
  float* partial;  // null, or what runs sum: [tiles, n_kv_heads, kRows, runs, head_dim + 2]
  int64_t runs;

  __device__ int32_t FirstSeen(int32_t position) const {
    return window == 0 ? 0 : static_cast<int32_t>(max(int64_t{0}, position - window + 1));
  }
  __device__ float* Partial(int64_t tile, int64_t head, int64_t row, int64_t rows,
                            int64_t run) const {
    return partial + (((tile * n_kv_heads + head) * rows + row) * runs + run) * (head_dim + 2);
  }
};

// Σ 2^(score − largest) of a row's keys, and that largest score.
struct Weighed {
  float largest, sum;
};
constexpr float kNoScore = -FLT_MAX;

// total += run: what the sums of each are multiplied by.
struct Shares {
  float old, added, largest;
  __device__ Shares(float total, float run)
      : old(exp2f(total - fmaxf(total, run))),
        added(exp2f(run - fmaxf(total, run))),
        largest(fmaxf(total, run)) {}
  __device__ float Sum(float total, float run) const {
    return fmaf(run, added, __fmul_rn(total, old));
  }
};

// 1 / sum, 0 where nothing was seen. Adding 0 makes −0 the 0 that other cuts may give.
__device__ float Quotient(float value, float sum) {
  return fmaf(value, sum == 0 ? 0.0f : 1 / sum, 0.0f);
}

template <class S>
struct Block {
  const AttentionView& args;
  const Tile& tile;
  int64_t head;        // of the keys
  float* q;            // [head_dim, kRows], times the scale
  float* scores;       // [kRows, kScoreStride], then weights
  Weighed* run;        // [kRows]
  Weighed* total;      // [kRows]
  float* decay;        // [kRows]
  int32_t* positions;  // [kRows]

  __device__ Block(const AttentionView& args, const Tile& tile, int64_t head, float* shared)
      : args(args), tile(tile), head(head) {
    q = shared;
    scores = q + args.head_dim * S::kRows;
    run = reinterpret_cast<Weighed*>(scores + S::kRows * kScoreStride);
    total = run + S::kRows;
    decay = reinterpret_cast<float*>(total + S::kRows);
    positions = reinterpret_cast<int32_t*>(decay + S::kRows);
  }
  static size_t Bytes(int64_t head_dim) {
    return S::kRows * (head_dim + kScoreStride + 6) * sizeof(float);
  }

  __device__ static int FirstRow() { return threadIdx.x / S::kAcross * S::kThreadRows; }
  __device__ static int Across() { return threadIdx.x % S::kAcross; }
  __device__ const Query& QueryOf(int row) const {
    return tile.queries[(tile.first + row) / args.heads];
  }
  __device__ int64_t HeadOf(int row) const {
    return head * args.heads + (tile.first + row) % args.heads;
  }

  __device__ void TakeQueries() {
    for (int64_t i = threadIdx.x; i < S::kRows * args.head_dim; i += kThreads) {
      const int row = static_cast<int>(i / args.head_dim);
      const int64_t k = i % args.head_dim;
      q[k * S::kRows + row] =
          row < tile.rows
              ? __fmul_rn(args.q[QueryOf(row).row][HeadOf(row) * args.head_dim + k], args.scale)
              : 0.0f;
    }
    for (int row = threadIdx.x; row < S::kRows; row += kThreads) {
      positions[row] = row < tile.rows ? QueryOf(row).position : -1;  // sees nothing
      total[row] = {kNoScore, 0};
    }
    __syncthreads();
  }

  __device__ void Multiply(const float* keys) {
    float sums[S::kThreadRows][S::kThreadKeys] = {};
    const float* const left = q + FirstRow();
    keys += Across() * S::kThreadKeys;
#pragma unroll 4
    for (int64_t k = 0; k < args.head_dim; ++k) {
      float right[S::kThreadKeys];
#pragma unroll
      for (int j = 0; j < S::kThreadKeys; ++j) right[j] = keys[k * kPage + j];
#pragma unroll
      for (int r = 0; r < S::kThreadRows; ++r) {
        const float l = left[k * S::kRows + r];
#pragma unroll
        for (int j = 0; j < S::kThreadKeys; ++j) sums[r][j] = fmaf(l, right[j], sums[r][j]);
      }
    }
#pragma unroll
    for (int r = 0; r < S::kThreadRows; ++r) {
#pragma unroll
      for (int j = 0; j < S::kThreadKeys; ++j) {
        scores[(FirstRow() + r) * kScoreStride + Across() * S::kThreadKeys + j] = sums[r][j];
      }
    }
    __syncthreads();
  }

  // A warp a row, a lane the keys `lane` and `lane + 32` of which at[] are the positions.
  __device__ void Weigh(const int32_t (&at)[2], int rows) {
    const int lane = threadIdx.x % 32;
    for (int row = threadIdx.x / 32; row < S::kRows; row += kThreads / 32) {
      const int32_t position = positions[row], first = args.FirstSeen(position);
      float* const of_row = scores + row * kScoreStride;
      float score[2];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int key = lane + 32 * i;
        const bool seen = key < rows && at[i] <= position && at[i] >= first;
        score[i] = seen ? of_row[key] : -INFINITY;
      }
      const Weighed before = run[row];
      float largest = fmaxf(before.largest, fmaxf(score[0], score[1]));
      for (int offset = 16; offset > 0; offset /= 2) {
        largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, offset));
      }
      const float weights[2] = {exp2f(score[0] - largest), exp2f(score[1] - largest)};
      of_row[lane] = weights[0];
      of_row[lane + 32] = weights[1];
      const float sum = WarpSum(__fadd_rn(weights[0], weights[1]));
      __syncwarp();
      if (lane == 0) {
        decay[row] = exp2f(before.largest - largest);
        run[row] = {largest, fmaf(before.sum, decay[row], sum)};
      }
    }
    __syncthreads();
  }

  using Values = float[S::kThreadRows][S::kThreadCols];

  // The thread's columns are Across(), Across() + kAcross, … of the block's.
  __device__ void AddValues(const float* values, int rows, int64_t first_col, Values& sums) {
    const int64_t col = first_col + Across();
#pragma unroll
    for (int r = 0; r < S::kThreadRows; ++r) {
#pragma unroll
      for (int c = 0; c < S::kThreadCols; ++c) {
        sums[r][c] = __fmul_rn(sums[r][c], decay[FirstRow() + r]);
      }
    }
#pragma unroll 2
    for (int j = 0; j < rows; ++j) {
      float weight[S::kThreadRows];
#pragma unroll
      for (int r = 0; r < S::kThreadRows; ++r) {
        weight[r] = scores[(FirstRow() + r) * kScoreStride + j];
      }
#pragma unroll
      for (int c = 0; c < S::kThreadCols; ++c) {
        if (col + c * S::kAcross >= args.head_dim) break;
        const float v = values[j * args.head_dim + col + c * S::kAcross];
#pragma unroll
        for (int r = 0; r < S::kThreadRows; ++r) sums[r][c] = fmaf(weight[r], v, sums[r][c]);
      }
    }
    __syncthreads();
  }

  // The pages of one run, into `run` and `sums`.
  __device__ void SumRun(int64_t index, int64_t first_col, int32_t least, int32_t most,
                         Values& sums) {
    for (int row = threadIdx.x; row < S::kRows; row += kThreads) run[row] = {kNoScore, 0};
    __syncthreads();
    const int64_t end = min(tile.kv.count(), (index + 1) * kRun);
    for (int64_t p = index * kRun; p < end; ++p) {
      const float* const page = tile.kv.pages[p];
      const int rows = static_cast<int>(min(kKvPageRows, tile.kv.rows - p * kKvPageRows));
      const int lane = threadIdx.x % 32;
      const auto* const of_page = reinterpret_cast<const int32_t*>(page);
      const int32_t at[2] = {lane < rows ? of_page[lane] : INT_MAX,
                             lane + 32 < rows ? of_page[lane + 32] : INT_MAX};
      const int32_t lowest = __reduce_min_sync(~0u, min(at[0], at[1]));
      const int32_t highest =
          __reduce_max_sync(~0u, max(lane < rows ? at[0] : -1, lane + 32 < rows ? at[1] : -1));
      if (lowest > most || highest < least) continue;  // the same in all warps
      Multiply(page + kKvPageRows * (1 + head * args.head_dim));
      Weigh(at, rows);
      AddValues(page + kKvPageRows * (1 + (args.n_kv_heads + head) * args.head_dim), rows,
                first_col, sums);
    }
  }

  // totals += sums, row by row.
  __device__ void AddRun(const Values& sums, Values& totals) {
#pragma unroll
    for (int r = 0; r < S::kThreadRows; ++r) {
      const int row = FirstRow() + r;
      const Shares shares(total[row].largest, run[row].largest);
#pragma unroll
      for (int c = 0; c < S::kThreadCols; ++c) totals[r][c] = shares.Sum(totals[r][c], sums[r][c]);
    }
    __syncthreads();
    for (int row = threadIdx.x; row < S::kRows; row += kThreads) {
      const Shares shares(total[row].largest, run[row].largest);
      total[row] = {shares.largest, shares.Sum(total[row].sum, run[row].sum)};
    }
    __syncthreads();
  }

  // put(row, column of the head, its number of the thread's values)
  template <class Put>
  __device__ void ForValues(int64_t first_col, const Put& put) const {
#pragma unroll
    for (int r = 0; r < S::kThreadRows; ++r) {
#pragma unroll
      for (int c = 0; c < S::kThreadCols; ++c) {
        const int64_t col = first_col + Across() + c * S::kAcross;
        if (FirstRow() + r < tile.rows && col < args.head_dim) put(FirstRow() + r, col, r, c);
      }
    }
  }
};

// Grid: tiles or, where runs have blocks of their own, (tile, run); heads of keys; columns.
template <class S>
__global__ void __launch_bounds__(kThreads, 2) AttentionKernel(AttentionView args) {
  extern __shared__ float4 shared[];
  const bool apart = args.partial != nullptr;
  const int64_t index = apart ? blockIdx.x / args.runs : blockIdx.x;
  const Tile& tile = args.tiles[index];
  Block<S> block(args, tile, blockIdx.y, reinterpret_cast<float*>(shared));
  const int64_t first_col = static_cast<int64_t>(blockIdx.z) * kBlockCols;
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

template <class S>
void Run(const Exec& exec, AttentionView view, const std::vector<Tile>& tiles, int64_t runs) {
  view.tiles = Place(exec, std::span<const Tile>(tiles));
  const auto count = static_cast<int64_t>(tiles.size()), heads = view.n_kv_heads;
  const dim3 grid(static_cast<unsigned>(count), static_cast<unsigned>(heads),
                  Blocks(view.head_dim, kBlockCols));
  const size_t bytes = Block<S>::Bytes(view.head_dim);
  // Many rows keep the GPU busy, and their sums would need much room.
  const bool apart = S::kRows == FewRows::kRows && runs > 1 &&
                     count * heads < 2 * int64_t{GpuOf(exec).properties().multiProcessorCount};
  if (!apart) return Launch(exec, AttentionKernel<S>, grid, kThreads, bytes, view);
  const Scratch<float> partial(exec, count * heads * S::kRows * runs * (view.head_dim + 2));
  view.partial = partial.data();
  view.runs = runs;
  const dim3 each(static_cast<unsigned>(count * runs), grid.y, grid.z);
  Launch(exec, AttentionKernel<S>, each, kThreads, bytes, view);
  Launch(exec, AddRunsKernel, dim3(grid.x, grid.y, S::kRows), kThreads, 0, view);
}

}  // namespace

void Attention(const Exec& exec, const AttentionArgs& args) {
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
  // What one multiprocessor holds of queries decides, too.
  constexpr int64_t kLongestOfMany = 512;
  const bool many = most > FewRows::kRows && view.head_dim <= kLongestOfMany;
  const int64_t rows = many ? ManyRows::kRows : FewRows::kRows;
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
  if (many) {
    Run<ManyRows>(exec, view, tiles, runs);
  } else {
    Run<FewRows>(exec, view, tiles, runs);
  }
}

}  // namespace pith::cuda
