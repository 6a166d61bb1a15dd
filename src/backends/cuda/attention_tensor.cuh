// What a block of threads does with some rows of Attention where products are in 16 bits: queries,
// keys, weights and values are rounded as operands of tensor cores, all sums are f32.
//
// The same rows, pages and runs as in attention_block.cuh, summed in the same order, so that a
// row's bits depend on nothing else here either: a tensor core's row knows of no other row.
#ifndef PITH_BACKENDS_CUDA_ATTENTION_TENSOR_CUH_
#define PITH_BACKENDS_CUDA_ATTENTION_TENSOR_CUH_

#include <type_traits>

#include "backends/cuda/attention_block.cuh"
#include "backends/cuda/tensor_core.cuh"

namespace pith::cuda::attention {

// Eight warps of a block take 16 rows each, all columns of values; of few rows, four take the same
// 16 and a quarter of the columns. kDimOf: head_dim at the most, a multiple of 64. While a page is
// multiplied, the next one comes into shared memory.
template <class T, int kDimOf, bool kFew>
struct TensorBlock {
  static constexpr int kDim = kDimOf, kWarps = kFew ? 4 : 8, kThreads = 32 * kWarps;
  static constexpr int kRows = kFew ? 16 : 16 * kWarps;
  static constexpr int kCols = kFew ? kDim / kWarps : kDim;  // a warp's
  // Rows of shared memory, of which no eight meet in a bank.
  static constexpr int kDimStride = kDim + 8, kKeyStride = kPage + 8;

  struct Shared {
    T q[kRows][kDimStride];    // times the scale
    T keys[kDim][kKeyStride];  // transposed, as pages have them
    T values[kPage][kDimStride];
    int32_t key_positions[kPage];
    int32_t positions[kRows];  // of queries; −1 behind the last one
    // The next page, as it lies in memory: keys [head_dim, kPage], values [kPage, head_dim].
    alignas(16) int32_t next_positions[kPage];
    alignas(16) float next_keys[kDim * kPage];
    alignas(16) float next_values[kPage * kDim];
  };
  using Sums = float[kCols / 8][4];
  // Of a lane's rows, lane / 4 and that + 8.
  struct State {
    Sums values = {};
    Weighed of[2] = {{kNoScore, 0}, {kNoScore, 0}};
  };

  const AttentionView& args;
  const Tile& tile;
  const int64_t head;  // of the keys
  Shared& shared;
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;
  const int first_row = kFew ? 0 : 16 * warp;
  const int first_col = kFew ? kCols * warp : 0;

  __device__ TensorBlock(const AttentionView& args, const Tile& tile, int64_t head, Shared& shared)
      : args(args), tile(tile), head(head), shared(shared) {}

  // What a 16-bit number cannot hold stays finite: a key that is not seen weighs 0, and 0 · ∞ is
  // not 0.
  __device__ static float Bounded(float v) {
    if constexpr (!std::is_same_v<T, __half>) return v;
    constexpr float kMost = 65504;
    return fminf(fmaxf(v, -kMost), kMost);
  }
  __device__ static void Put(T* to, const float4& v) {
    *reinterpret_cast<uint2*>(to) = {Pack<T>(Bounded(v.x), Bounded(v.y)),
                                     Pack<T>(Bounded(v.z), Bounded(v.w))};
  }

  __device__ const Query& QueryOf(int row) const {
    return tile.queries[(tile.first + row) / args.heads];
  }
  __device__ int64_t HeadOf(int row) const {
    return head * args.heads + (tile.first + row) % args.heads;
  }

  // Numbers beyond head_dim are 0 in q, keys and values.
  __device__ void TakeQueries() {
    for (int i = threadIdx.x; i < kRows * kDim / 4; i += kThreads) {
      const int row = i / (kDim / 4), k = i % (kDim / 4) * 4;
      float4 v = {};
      if (row < tile.rows && k < args.head_dim) {
        const float* const q = args.q[QueryOf(row).row] + HeadOf(row) * args.head_dim + k;
        v = {__fmul_rn(q[0], args.scale), __fmul_rn(q[1], args.scale), __fmul_rn(q[2], args.scale),
             __fmul_rn(q[3], args.scale)};
      }
      Put(&shared.q[row][k], v);
    }
    for (int row = threadIdx.x; row < kRows; row += kThreads) {
      shared.positions[row] = row < tile.rows ? QueryOf(row).position : -1;
    }
    for (int i = threadIdx.x; i < (kDim - args.head_dim) * kPage / 4; i += kThreads) {
      const int along = i / (kPage / 4), at = i % (kPage / 4) * 4;
      Put(&shared.keys[args.head_dim + along][at], {});
    }
    const int rest = static_cast<int>(kDim - args.head_dim) / 4;
    for (int i = threadIdx.x; i < rest * kPage; i += kThreads) {
      Put(&shared.values[i / rest][args.head_dim + i % rest * 4], {});
    }
    __syncthreads();
  }

  // The page comes into next_…, with 0 for rows of values behind the last one, which may be
  // anything in memory.
  __device__ void StartPage(const float* page, int rows) {
    const float* const keys = page + kKvPageRows * (1 + head * args.head_dim);
    const float* const values = page + kKvPageRows * (1 + (args.n_kv_heads + head) * args.head_dim);
    const int size = kPage * static_cast<int>(args.head_dim);
    for (int i = 4 * threadIdx.x; i < size; i += 4 * kThreads) {
      CopyAsync(&shared.next_keys[i], keys + i, true);
      CopyAsync(&shared.next_values[i], values + i, i < rows * args.head_dim);
    }
    if (threadIdx.x < kPage / 4) {
      CopyAsync(&shared.next_positions[4 * threadIdx.x], page + 4 * threadIdx.x, true);
    }
    CommitCopies();
  }
  // The page that came, rounded.
  __device__ void TakePage() {
    const int fours = static_cast<int>(args.head_dim) / 4;
    for (int i = threadIdx.x; i < kPage * fours; i += kThreads) {
      Put(&shared.keys[i / (kPage / 4)][i % (kPage / 4) * 4],
          *reinterpret_cast<const float4*>(&shared.next_keys[4 * i]));
      Put(&shared.values[i / fours][i % fours * 4],
          *reinterpret_cast<const float4*>(&shared.next_values[4 * i]));
    }
    if (threadIdx.x < kPage) {
      shared.key_positions[threadIdx.x] = shared.next_positions[threadIdx.x];
    }
  }

  // One page onto `run`. The shared page is there.
  __device__ void AddPage(int rows, State& run) {
    float scores[kPage / 8][4] = {};
#pragma unroll
    for (int k = 0; k < kDim; k += 16) {
      uint32_t q[4];
      LoadTiles(q, &shared.q[first_row + lane % 16][k + lane / 16 * 8]);
#pragma unroll
      for (int n = 0; n < kPage; n += 16) {
        uint32_t keys[4];
        LoadTilesTransposed(keys, &shared.keys[k + lane % 16][n + lane / 16 * 8]);
        MultiplyAdd<T>(scores[n / 8], q, keys[0], keys[1]);
        MultiplyAdd<T>(scores[n / 8 + 1], q, keys[2], keys[3]);
      }
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int32_t position = shared.positions[first_row + lane / 4 + 8 * half];
      const int32_t first = args.FirstSeen(position);
      float largest = run.of[half].largest;
#pragma unroll
      for (int j = 0; j < kPage / 8; ++j) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const int key = 8 * j + lane % 4 * 2 + e;
          const int32_t at = shared.key_positions[key];
          float& score = scores[j][2 * half + e];
          if (key >= rows || at > position || at < first) score = -INFINITY;
          largest = fmaxf(largest, score);
        }
      }
      largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, 1));
      largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, 2));
      float sum = 0;
#pragma unroll
      for (int j = 0; j < kPage / 8; ++j) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          float& score = scores[j][2 * half + e];
          score = exp2f(score - largest);
          sum = __fadd_rn(sum, score);
        }
      }
      sum = __fadd_rn(sum, __shfl_xor_sync(~0u, sum, 1));
      sum = __fadd_rn(sum, __shfl_xor_sync(~0u, sum, 2));
      const float decay = exp2f(run.of[half].largest - largest);
      run.of[half] = {largest, fmaf(run.of[half].sum, decay, sum)};
#pragma unroll
      for (int c = 0; c < kCols / 8; ++c) {
        run.values[c][2 * half] = __fmul_rn(run.values[c][2 * half], decay);
        run.values[c][2 * half + 1] = __fmul_rn(run.values[c][2 * half + 1], decay);
      }
    }
#pragma unroll
    for (int n = 0; n < kPage; n += 16) {
      const float(&left)[4] = scores[n / 8];
      const float(&right)[4] = scores[n / 8 + 1];
      const uint32_t weights[4] = {Pack<T>(left[0], left[1]), Pack<T>(left[2], left[3]),
                                   Pack<T>(right[0], right[1]), Pack<T>(right[2], right[3])};
#pragma unroll
      for (int c = 0; c < kCols; c += 16) {
        uint32_t values[4];
        LoadTilesTransposed(values, &shared.values[n + lane % 16][first_col + c + lane / 16 * 8]);
        MultiplyAdd<T>(run.values[c / 8], weights, values[0], values[1]);
        MultiplyAdd<T>(run.values[c / 8 + 1], weights, values[2], values[3]);
      }
    }
  }

  // The pages of one run, onto `run`. least, most: what the block's queries see.
  __device__ void SumRun(int64_t index, int32_t least, int32_t most, State& run) {
    const int64_t end = min(tile.kv.count(), (index + 1) * kRun);
    const auto rows_of = [&](int64_t p) {
      return static_cast<int>(min(kKvPageRows, tile.kv.rows - p * kKvPageRows));
    };
    // The first page from p on that is seen is on its way.
    const auto start = [&](int64_t p) {
      while (p < end && !Seen(tile.kv.pages[p], rows_of(p), least, most)) ++p;
      if (p < end) StartPage(tile.kv.pages[p], rows_of(p));
      return p;
    };
    for (int64_t p = start(index * kRun); p < end;) {
      AwaitCopies<0>();
      __syncthreads();  // the page is there, and the one before it is done with
      TakePage();
      __syncthreads();
      const int rows = rows_of(p);
      p = start(p + 1);
      AddPage(rows, run);
    }
  }

  // put(row of the tile, column of the head, value, the row's sum) for the lane's values.
  template <class Put>
  __device__ void ForValues(const State& state, const Put& put) const {
#pragma unroll
    for (int c = 0; c < kCols / 8; ++c) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int row = first_row + lane / 4 + e / 2 * 8;
        const int col = first_col + 8 * c + lane % 4 * 2 + e % 2;
        if (row < tile.rows && col < args.head_dim)
          put(row, col, state.values[c][e], state.of[e / 2]);
      }
    }
  }
};

// As AttentionKernel, whose grid and results it has, by tensor cores.
template <class T, int kDim, bool kFew>
__global__ void __launch_bounds__(TensorBlock<T, kDim, kFew>::kThreads)
    TensorAttentionKernel(AttentionView args) {
  using Block = TensorBlock<T, kDim, kFew>;
  extern __shared__ float4 shared[];
  const bool apart = args.partial != nullptr;
  const int64_t index = apart ? blockIdx.x / args.runs : blockIdx.x;
  const Tile& tile = args.tiles[index];
  Block block(args, tile, blockIdx.y, *reinterpret_cast<typename Block::Shared*>(shared));
  block.TakeQueries();
  int32_t low = INT_MAX, most = -1;
  for (int row = 0; row < tile.rows; ++row) {
    low = min(low, block.shared.positions[row]);
    most = max(most, block.shared.positions[row]);
  }
  const int32_t least = args.FirstSeen(low);
  if (apart) {
    const int64_t number = blockIdx.x % args.runs;
    typename Block::State run;
    block.SumRun(number, least, most, run);
    block.ForValues(run, [&](int row, int col, float value, const Weighed& of) {
      float* const to = args.Partial(index, blockIdx.y, row, Block::kRows, number);
      to[col] = value;
      if (col != 0) return;
      to[args.head_dim] = of.largest;
      to[args.head_dim + 1] = of.sum;
    });
    return;
  }
  typename Block::State total;
  for (int64_t number = 0; number * kRun < tile.kv.count(); ++number) {
    typename Block::State run;
    block.SumRun(number, least, most, run);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const Shares shares(total.of[half].largest, run.of[half].largest);
      for (int c = 0; c < Block::kCols / 8; ++c) {
#pragma unroll
        for (int e = 2 * half; e < 2 * half + 2; ++e) {
          total.values[c][e] = shares.Sum(total.values[c][e], run.values[c][e]);
        }
      }
      total.of[half] = {shares.largest, shares.Sum(total.of[half].sum, run.of[half].sum)};
    }
  }
  block.ForValues(total, [&](int row, int col, float value, const Weighed& of) {
    args.out[block.QueryOf(row).out][block.HeadOf(row) * args.head_dim + col] =
        Quotient(value, of.sum);
  });
}

}  // namespace pith::cuda::attention

#endif  // PITH_BACKENDS_CUDA_ATTENTION_TENSOR_CUH_
