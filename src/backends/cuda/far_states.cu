// What far rows write, by tensor cores. First B, which all heads of a group share; then a block
// takes a head through all rows that it needs, so that the state stays in registers and its sums
// have one order. The last rows of the region are projected by every block, needed or not: the
// convolution's state wants them.
#include "backends/cuda/far_tile.cuh"

namespace pith::cuda::far {
namespace {

// The last rows, which become the convolution's state.
template <class T>
__device__ Tile LastTile(const LayerText<T>& pair) {
  const int rows = min(pair.far, kPast);
  return {pair.far - rows, rows, false};
}

// Whether a head of the group needs one of the tile's rows; the same in all threads.
template <class T>
__device__ bool IsNeeded(const Task<T>& task, const LayerText<T>& pair, int group,
                         const Tile& tile) {
  const int heads = task.heads / task.groups;
  const int first = pair.ChunkOf(tile.begin);
  const int count = pair.ChunkOf(tile.begin + tile.rows - 1) + 1 - first;
  const uint8_t* const needed = pair.needed + int64_t{group} * heads * pair.chunks + first;
  int any = 0;
  for (int i = threadIdx.x; i < heads * count; i += kThreads) {
    any |= needed[int64_t{i / count} * pair.chunks + i % count];
  }
  return __syncthreads_or(any) != 0;
}

// Block (i, p, l): the tile that is the i-th from the region's end, the p-th 64 channels of B, pair
// l.
template <class T>
__global__ void __launch_bounds__(kThreads, 2) StoreB(Task<T> task) {
  extern __shared__ __align__(1024) uint4 memory[];
  Shared<T>& shared = *reinterpret_cast<Shared<T>*>(memory);
  constexpr int kParts = kScanState / kColumns;  // of a group's B
  const LayerText<T>& pair = task.pairs[blockIdx.z];
  const int column = blockIdx.y * kColumns;
  const int end = pair.far - static_cast<int>(blockIdx.x) * kRows;
  if (end <= 0) return;
  const int begin = max(0, end - kRows);
  const Tile tile{begin, end - begin, false};
  if (!IsNeeded(task, pair, blockIdx.y / kParts, tile)) return;
  const Channels<T> channels{&pair, task.inner() + column};
  LoadNorm(task, *channels.pair, shared);
  Project(task, channels, tile, shared);
  T* const b = pair.b + int64_t{begin} * task.b_width() + column;
  Convolve(channels, tile, shared, [&](int row, int c, float2 v) {
    *reinterpret_cast<uint32_t*>(b + int64_t{row} * task.b_width() + c) = Pack<T>(v.x, v.y);
  });
}

// Block (p, l): the convolution's state of the p-th 64 channels of B and C of pair l. It comes
// after StoreB, whose blocks may read what it changes.
template <class T>
__global__ void __launch_bounds__(kThreads, 2) KeepBc(Task<T> task) {
  extern __shared__ __align__(1024) uint4 memory[];
  Shared<T>& shared = *reinterpret_cast<Shared<T>*>(memory);
  const Channels<T> channels{task.pairs + blockIdx.y,
                             task.inner() + static_cast<int>(blockIdx.x) * kColumns};
  const Tile tile = LastTile(*channels.pair);
  LoadNorm(task, *channels.pair, shared);
  Project(task, channels, tile, shared);
  KeepPast(task, channels, tile, shared);
}

// The tile's B on its way into shared memory, with zeros behind it to whole tiles of 16.
template <class T>
__device__ void StartB(const Task<T>& task, const LayerText<T>& pair, int group, const Tile& tile,
                       Shared<T>& shared) {
  constexpr int kRowPieces = kScanState / 8;
  const int end = (tile.rows + kTile - 1) / kTile * kTile;
  const T* const b = pair.b + int64_t{tile.begin} * task.b_width() + group * kScanState;
  for (int i = threadIdx.x; i < end * kRowPieces; i += kThreads) {
    const int row = i / kRowPieces, column = i % kRowPieces * 8;
    const bool there = row < tile.rows;
    CopyAsync(&shared.out.b[row][column], b + int64_t{there ? row : 0} * task.b_width() + column,
              there);
  }
  CommitCopies();
}

// A head's state [d_state, head_dim]: warp w holds 16 of the 128 states.
using State = float[kColumns / 8][4];

// state += Σ_t B_t x_tᵀ over the tile, x with its weight.
template <class T>
__device__ void Accumulate(const Shared<T>& shared, const Tile& tile, State& state) {
  const int lane = threadIdx.x % 32;
  const int n = threadIdx.x / 32 * kTile;
#pragma unroll 1
  for (int t = 0; t < tile.rows; t += kTile) {
    uint32_t a[4];
    LoadTilesTransposed(a, &shared.out.b[t + lane / 16 * 8 + lane % 8][n + lane / 8 % 2 * 8]);
#pragma unroll
    for (int p = 0; p < kColumns; p += kTile) {
      uint32_t x[4];
      LoadTilesTransposed(x, &shared.out.x[t + lane % 16][p + lane / 16 * 8]);
      MultiplyAdd<T>(state[p / 8], a, x[0], x[1]);
      MultiplyAdd<T>(state[p / 8 + 1], a, x[2], x[3]);
    }
  }
}

// What a projected tile writes.
template <class T>
__device__ void WriteTile(const Task<T>& task, int head, const Channels<T>& channels,
                          const Tile& tile, Shared<T>& shared, State& state) {
  const LayerText<T>& pair = *channels.pair;
  StartB(task, pair, head / (task.heads / task.groups), tile, shared);
  const float* const weight = pair.weight + head * pair.stride + tile.begin;
  Convolve(channels, tile, shared, [&](int row, int c, float2 v) {
    const float w = weight[row];
    *reinterpret_cast<uint32_t*>(&shared.out.x[row][c]) = Pack<T>(w * v.x, w * v.y);
  });
  const int end = (tile.rows + kTile - 1) / kTile * kTile;
  for (int i = tile.rows * (kColumns / 2) + threadIdx.x; i < end * (kColumns / 2); i += kThreads) {
    *reinterpret_cast<uint32_t*>(&shared.out.x[i / (kColumns / 2)][i % (kColumns / 2) * 2]) = 0;
  }
  for (int i = threadIdx.x; i < kPast * kColumns; i += kThreads) {
    shared.last[i / kColumns][i % kColumns] =
        shared.out.raw[kTile + tile.rows - kPast + i / kColumns][i % kColumns];
  }
  AwaitCopies<0>();
  __syncthreads();
  Accumulate(shared, tile, state);
}

// The first chunk from c on whose mask is `value`, or `chunks`; the same in all lanes.
__device__ int Find(const uint8_t* needed, int c, int chunks, int value) {
  for (; c < chunks; c += 32) {
    const int at = c + static_cast<int>(threadIdx.x) % 32;
    const unsigned found = __ballot_sync(~0u, at < chunks && needed[at] == value);
    if (found != 0) return c + __ffs(static_cast<int>(found)) - 1;
  }
  return chunks;
}

// decay · state + sums, each lane its cells.
__device__ void UpdateState(float* state, float decay, const State& sums) {
  const int lane = threadIdx.x % 32;
  const int n = threadIdx.x / 32 * kTile + lane / 4;
#pragma unroll
  for (int j = 0; j < kColumns / 8; ++j) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float2& cell =
          *reinterpret_cast<float2*>(state + (n + 8 * r) * kColumns + 8 * j + lane % 4 * 2);
      cell = {fmaf(decay, cell.x, sums[j][2 * r]), fmaf(decay, cell.y, sums[j][2 * r + 1])};
    }
  }
}

// The tiles of a head's needed chunks, in ascending order.
struct Walk {
  const uint8_t* needed;
  int chunk = 0;  // the next to look at
  int at = 0, stop = 0;

  template <class T>
  __device__ bool Next(const LayerText<T>& pair, Tile& tile) {
    const bool joined = at < stop;
    if (!joined) {
      const int first = Find(needed, chunk, pair.chunks, 1);
      if (first == pair.chunks) return false;
      chunk = Find(needed, first, pair.chunks, 0);
      at = pair.ChunkBegin(first);
      stop = pair.ChunkBegin(chunk);
    }
    tile = {at, min(kRows, stop - at), joined};
    at += tile.rows;
    return true;
  }
};

template <class T>
__global__ void __launch_bounds__(kThreads, 2) WriteHeads(Task<T> task) {
  extern __shared__ __align__(1024) uint4 memory[];
  Shared<T>& shared = *reinterpret_cast<Shared<T>*>(memory);
  const int64_t of_all = task.order[blockIdx.x];
  const int head = static_cast<int>(of_all % task.heads);
  const LayerText<T>& pair = task.pairs[of_all / task.heads];
  const Channels<T> channels{&pair, head * kColumns};
  State sums = {};
  LoadNorm(task, *channels.pair, shared);
  Walk walk{pair.needed + int64_t{head} * pair.chunks};
  for (bool kept = false;;) {
    Tile tile;
    const bool write = walk.Next(pair, tile);
    if (!write && kept) break;
    if (!write) tile = LastTile(pair);
    Project(task, channels, tile, shared);
    if (write) WriteTile(task, head, channels, tile, shared, sums);
    kept = tile.begin + tile.rows == pair.far;
    if (kept) KeepPast(task, channels, tile, shared);
  }
  constexpr int64_t kSize = kScanState * kScanHead;
  UpdateState(pair.ssm_state + head * kSize, task.decay[of_all], sums);
}

}  // namespace

int64_t SharedBytes(int64_t d_model) {
  const int64_t filled = (d_model + kDepth - 1) / kDepth * kDepth;
  return static_cast<int64_t>(sizeof(Shared<__half>)) +
         filled * static_cast<int64_t>(sizeof(float));
}

template <class T>
void WriteStates(const Exec& exec, const Task<T>& task) {
  const auto shared = static_cast<size_t>(SharedBytes(task.d_model));
  const auto pairs = static_cast<unsigned>(task.pair_count);
  const auto parts = static_cast<unsigned>(task.groups * kScanState / kColumns);
  Launch(exec, StoreB<T>, dim3(Blocks(task.most_far, kRows), parts, pairs), kThreads, shared, task);
  Launch(exec, KeepBc<T>, dim3(2 * parts, pairs), kThreads, shared, task);
  Launch(exec, WriteHeads<T>, task.all_heads(), kThreads, shared, task);
}

template void WriteStates(const Exec&, const Task<__nv_bfloat16>&);
template void WriteStates(const Exec&, const Task<__half>&);

}  // namespace pith::cuda::far
