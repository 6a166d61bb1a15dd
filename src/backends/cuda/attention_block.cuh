// What a block of threads does with some rows of Attention.
//
// A block has some rows, which are heads of queries that read the same head of keys. A score is one
// chain of multiply-adds over head_dim, a page's part of a value one chain over the page's rows in
// order; a key that is not seen weighs exactly 0 and changes nothing. Pages are summed in runs of
// kRun, and the runs in order. So a row's bits depend neither on the rows beside it nor on their
// number, nor on whether one block sums all runs or each has a block of its own.
#ifndef PITH_BACKENDS_CUDA_ATTENTION_BLOCK_CUH_
#define PITH_BACKENDS_CUDA_ATTENTION_BLOCK_CUH_

#include <cfloat>
#include <climits>

#include "backends/cuda/attention.cuh"
#include "backends/cuda/launch.cuh"

namespace pith::cuda::attention {

constexpr int kThreads = 256;
constexpr int kPage = static_cast<int>(kKvPageRows);
constexpr int64_t kRun = 8;
constexpr int kScoreStride = kPage + 4;  // floats: rows lie in different banks

// How the threads share a block's rows, keys and columns of values. What a thread loads at once is
// as much as its registers hold.
template <int kRowsOf, int kThreadRowsOf, int kColsOf>
struct Shape {
  static constexpr int kRows = kRowsOf, kThreadRows = kThreadRowsOf, kCols = kColsOf;
  static constexpr int kAcross = kThreads * kThreadRows / kRows;
  static constexpr int kThreadKeys = kPage / kAcross;
  static constexpr int kThreadCols = kCols / kAcross;
  static constexpr int kPack = kThreadCols < 4 ? kThreadCols : 4;  // columns side by side
  static constexpr int kDepthAtOnce = 32 / kThreadKeys;
  static constexpr int kKeysAtOnce = kThreadRows == 1 ? 8 : 2;
};
template <int kCols>
using ManyRows = Shape<64, 4, kCols>;
template <int kCols>
using FewRows = Shape<8, 1, kCols>;
constexpr int64_t kManyRows = ManyRows<64>::kRows, kFewRows = FewRows<64>::kRows;
constexpr int64_t kDepthStep = 16;  // a multiple of every kDepthAtOnce

template <int kCount>
struct alignas(kCount < 4 ? kCount * sizeof(float) : 16) Floats {
  float v[kCount];
};
template <int kCount>
__device__ Floats<kCount> Load(const float* from) {
  return *reinterpret_cast<const Floats<kCount>*>(from);
}

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
__device__ inline float Quotient(float value, float sum) {
  return fmaf(value, sum == 0 ? 0.0f : 1 / sum, 0.0f);
}

// Whether a query that sees positions [least, most] sees one of the page's rows. For whole warps.
__device__ inline bool Seen(const float* page, int rows, int32_t least, int32_t most) {
  const int lane = threadIdx.x % 32;
  const auto* const at = reinterpret_cast<const int32_t*>(page);
  const bool there[2] = {lane < rows, lane + 32 < rows};
  const int32_t first = there[0] ? at[lane] : INT_MAX, second = there[1] ? at[lane + 32] : INT_MAX;
  const int32_t lowest = __reduce_min_sync(~0u, min(first, second));
  const int32_t highest =
      __reduce_max_sync(~0u, max(there[0] ? first : -1, there[1] ? second : -1));
  return lowest <= most && highest >= least;
}

template <class S>
struct Block {
  const AttentionView& args;
  const Tile& tile;
  int64_t head;        // of the keys
  float* q;            // [Depth, kRows], times the scale; 0 beyond head_dim and the last row
  float* scores;       // [kRows, kScoreStride], then weights
  Weighed* run;        // [kRows]
  Weighed* total;      // [kRows]
  float* decay;        // [kRows]
  int32_t* positions;  // [kRows]

  __device__ Block(const AttentionView& args, const Tile& tile, int64_t head, float* shared)
      : args(args), tile(tile), head(head) {
    q = shared;
    scores = q + Depth(args.head_dim) * S::kRows;
    run = reinterpret_cast<Weighed*>(scores + S::kRows * kScoreStride);
    total = run + S::kRows;
    decay = reinterpret_cast<float*>(total + S::kRows);
    positions = reinterpret_cast<int32_t*>(decay + S::kRows);
  }
  static size_t Bytes(int64_t head_dim) {
    return S::kRows * (Depth(head_dim) + kScoreStride + 6) * sizeof(float);
  }
  __host__ __device__ static int64_t Depth(int64_t head_dim) {
    return (head_dim + kDepthStep - 1) / kDepthStep * kDepthStep;
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
    const int64_t depth = Depth(args.head_dim);
    for (int64_t i = threadIdx.x; i < S::kRows * depth; i += kThreads) {
      const int row = static_cast<int>(i / depth);
      const int64_t k = i % depth;
      q[k * S::kRows + row] =
          row < tile.rows && k < args.head_dim
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
    for (int64_t first = 0; first < args.head_dim; first += S::kDepthAtOnce) {
      Floats<S::kThreadKeys> right[S::kDepthAtOnce];
#pragma unroll
      for (int i = 0; i < S::kDepthAtOnce; ++i) {
        right[i] = {};
        if (first + i < args.head_dim) {
          right[i] = Load<S::kThreadKeys>(keys + (first + i) * kPage);
        }
      }
#pragma unroll
      for (int i = 0; i < S::kDepthAtOnce; ++i) {
        const auto l = Load<S::kThreadRows>(left + (first + i) * S::kRows);
#pragma unroll
        for (int r = 0; r < S::kThreadRows; ++r) {
#pragma unroll
          for (int j = 0; j < S::kThreadKeys; ++j) {
            sums[r][j] = fmaf(l.v[r], right[i].v[j], sums[r][j]);
          }
        }
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

  // The column of the thread's c-th value, from the block's first one.
  __device__ static int ColumnOf(int c) {
    return (c / S::kPack * S::kAcross + Across()) * S::kPack + c % S::kPack;
  }
  // kPack columns of a row of values; 0 beyond head_dim.
  __device__ Floats<S::kPack> LoadValues(const float* row, int64_t col) const {
    if (args.head_dim % S::kPack == 0) {
      return col < args.head_dim ? Load<S::kPack>(row + col) : Floats<S::kPack>{};
    }
    Floats<S::kPack> loaded = {};
#pragma unroll
    for (int i = 0; i < S::kPack; ++i) {
      if (col + i < args.head_dim) loaded.v[i] = row[col + i];
    }
    return loaded;
  }

  // Rows beyond the written ones have the weight 0, and are not read.
  __device__ void AddValues(const float* values, int rows, int64_t first_col, Values& sums) {
    constexpr int kPacks = S::kThreadCols / S::kPack;
#pragma unroll
    for (int r = 0; r < S::kThreadRows; ++r) {
#pragma unroll
      for (int c = 0; c < S::kThreadCols; ++c) {
        sums[r][c] = __fmul_rn(sums[r][c], decay[FirstRow() + r]);
      }
    }
    for (int first = 0; first < rows; first += S::kKeysAtOnce) {
      Floats<S::kPack> v[S::kKeysAtOnce][kPacks] = {};
#pragma unroll
      for (int j = 0; j < S::kKeysAtOnce; ++j) {
        if (first + j >= rows) break;
#pragma unroll
        for (int c = 0; c < kPacks; ++c) {
          v[j][c] =
              LoadValues(values + (first + j) * args.head_dim, first_col + ColumnOf(c * S::kPack));
        }
      }
#pragma unroll
      for (int r = 0; r < S::kThreadRows; ++r) {
        const auto weights = Load<S::kKeysAtOnce>(scores + (FirstRow() + r) * kScoreStride + first);
#pragma unroll
        for (int j = 0; j < S::kKeysAtOnce; ++j) {
#pragma unroll
          for (int c = 0; c < S::kThreadCols; ++c) {
            sums[r][c] = fmaf(weights.v[j], v[j][c / S::kPack].v[c % S::kPack], sums[r][c]);
          }
        }
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
      if (!Seen(page, rows, least, most)) continue;  // the same in all warps
      const int32_t at[2] = {lane < rows ? of_page[lane] : INT_MAX,
                             lane + 32 < rows ? of_page[lane + 32] : INT_MAX};
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
        const int64_t col = first_col + ColumnOf(c);
        if (FirstRow() + r < tile.rows && col < args.head_dim) put(FirstRow() + r, col, r, c);
      }
    }
  }
};

}  // namespace pith::cuda::attention

#endif  // PITH_BACKENDS_CUDA_ATTENTION_BLOCK_CUH_
