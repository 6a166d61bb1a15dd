// What all heads of a group read of a chunk, made once: B and C behind their convolution, C Bᵀ, and
// every head's steps.
#include <algorithm>

#include "backends/cuda/mamba2_scan_task.cuh"

namespace pith::cuda::scan {
namespace {

// ---- B and C through the convolution, for all heads at once.

constexpr int kConvRows = 16;  // rows a block

template <class T>
__global__ void ConvolveBc(Task<T> task) {
  const Segment segment = task.segments[blockIdx.y];
  const int64_t first = int64_t{blockIdx.x} * kConvRows;
  if (first >= segment.count) return;
  const int rows = static_cast<int>(min(int64_t{kConvRows}, segment.count - first));
  const int64_t inner = task.inner();
  const float* const past = task.conv_states + task.slots[blockIdx.y] * task.conv_stride + inner;
  for (int j = 2 * threadIdx.x; j < task.bc_width(); j += 2 * blockDim.x) {
    const T* const column = task.proj + segment.begin * task.stride + 2 * inner + j;
    const auto load = [&](int64_t t) {
      if (t >= 0) return Unpack<T>(*reinterpret_cast<const uint32_t*>(column + t * task.stride));
      const float* const old = past + (t + kPast) * task.channels() + j;
      return make_float2(old[0], old[1]);
    };
    float2 weight[kScanTaps], bias{0, 0};
    for (int k = 0; k < kScanTaps; ++k) {
      weight[k] = {task.conv_weight[(inner + j) * kScanTaps + k],
                   task.conv_weight[(inner + j + 1) * kScanTaps + k]};
    }
    if (task.conv_bias != nullptr)
      bias = {task.conv_bias[inner + j], task.conv_bias[inner + j + 1]};
    // All that is read is on its way before the first sum.
    float2 in[kPast + kConvRows];
#pragma unroll
    for (int r = 0; r < kPast + kConvRows; ++r) {
      in[r] = r < kPast + rows ? load(first - kPast + r) : make_float2(0, 0);
    }
#pragma unroll
    for (int r = 0; r < kConvRows; ++r) {
      if (r >= rows) break;
      float2 sum = bias;
      for (int k = 0; k < kScanTaps; ++k) {
        sum.x = fmaf(weight[k].x, in[r + k].x, sum.x);
        sum.y = fmaf(weight[k].y, in[r + k].y, sum.y);
      }
      const float2 out{FastSilu(sum.x), FastSilu(sum.y)};
      const int64_t row = segment.begin + first + r;
      *reinterpret_cast<uint32_t*>(task.bc + row * task.bc_width() + j) = Pack<T>(out.x, out.y);
      if (task.kept_conv != nullptr) {
        float* const kept = task.kept_conv + row * task.channels() + inner + j;
        kept[0] = out.x;
        kept[1] = out.y;
      }
    }
  }
}

// ---- Δ and its running sums within chunks.

constexpr int kStepHeads = 32;  // a block
constexpr int kStepThreads = 256;
constexpr int kStepPiece = 8;  // heads that a thread reads at once
static_assert(kStepThreads == kScanChunk * kStepHeads / kStepPiece);

template <class T>
__global__ void ScanSteps(Task<T> task) {
  __shared__ float tile[kScanChunk][kStepHeads + 1];
  const Segment segment = task.segments[blockIdx.y];
  const int64_t first = int64_t{blockIdx.x} * kScanChunk;
  if (first >= segment.count) return;
  const int rows = static_cast<int>(min(int64_t{kScanChunk}, segment.count - first));
  const int first_head = blockIdx.z * kStepHeads;
  const int heads = min(kStepHeads, task.heads - first_head);
  // Rows of proj are padded to whole pieces.
  const int row = threadIdx.x * kStepPiece / kStepHeads;
  const int piece = threadIdx.x * kStepPiece % kStepHeads;
  if (row < rows && piece < heads) {
    const uint4 raw =
        *reinterpret_cast<const uint4*>(task.proj + (segment.begin + first + row) * task.stride +
                                        task.inner() + task.channels() + first_head + piece);
    const uint32_t pairs[] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
    for (int i = 0; i < kStepPiece / 2; ++i) {
      const float2 pair = Unpack<T>(pairs[i]);
      tile[row][piece + 2 * i] = pair.x;
      tile[row][piece + 2 * i + 1] = pair.y;
    }
  }
  __syncthreads();
  const int lane = threadIdx.x % 32;
  for (int h = threadIdx.x / 32; h < heads; h += kStepThreads / 32) {
    const float bias = task.dt_bias[first_head + h];
    const float a = task.a[first_head + h] * kLog2E;
    float delta[2] = {0, 0};
    for (int i = 0; i < 2; ++i) {
      const int t = 2 * lane + i;
      if (t < rows) delta[i] = Clamp(Softplus(tile[t][h] + bias), task.dt_min, task.dt_max);
    }
    float sum = (delta[0] + delta[1]) * a;
    for (int offset = 1; offset < 32; offset *= 2) {
      const float other = __shfl_up_sync(~0u, sum, offset);
      if (lane >= offset) sum += other;
    }
    float2* const out = task.steps + (first_head + h) * task.rows + segment.begin + first;
    if (2 * lane < rows) out[2 * lane] = {delta[0], sum - delta[1] * a};
    if (2 * lane + 1 < rows) out[2 * lane + 1] = {delta[1], sum};
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads) MultiplyCb(Task<T> task) {
  extern __shared__ __align__(16) unsigned char memory[];
  T(&b)[kScanChunk][kBcStride] = *reinterpret_cast<T(*)[kScanChunk][kBcStride]>(memory);
  T(&c)[kScanChunk][kBcStride] = *reinterpret_cast<T(*)[kScanChunk][kBcStride]>(memory + sizeof(b));
  const Segment segment = task.segments[blockIdx.y];
  const int64_t first = int64_t{blockIdx.x} * kScanChunk;
  if (first >= segment.count) return;
  const int rows = static_cast<int>(min(int64_t{kScanChunk}, segment.count - first));
  const T* const from =
      task.bc + (segment.begin + first) * task.bc_width() + blockIdx.z * kScanState;
  StartTile<kScanChunk, kScanState>(&b[0][0], kBcStride, from, task.bc_width(), 0, rows);
  StartTile<kScanChunk, kScanState>(&c[0][0], kBcStride, from + task.bc_width() / 2,
                                    task.bc_width(), 0, rows);
  CommitCopies();
  AwaitCopies<0>();
  __syncthreads();
  float4* const out = TilesOf(task, ChunkIndex(segment, blockIdx.y, blockIdx.x), blockIdx.z);
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;
  for (int tile = kFirstTile[warp]; tile < kFirstTile[warp + 1]; ++tile) {
    const int row = kTileRow[tile];
    const int block = tile - row * (row + 1) / 2;
    float sums[2][4] = {};
#pragma unroll
    for (int n = 0; n < kScanState; n += kTile) {
      uint32_t x[4], y[4];
      LoadTiles(x, &c[row * kTile + lane % 16][n + lane / 16 * 8]);
      // Tiles: rows 0 … 7 with columns n …, n + 8 …, then rows 8 … 15 with both.
      LoadTiles(y, &b[block * kTile + lane / 16 * 8 + lane % 8][n + lane / 8 % 2 * 8]);
      MultiplyAdd<T>(sums[0], x, y[0], y[1]);
      MultiplyAdd<T>(sums[1], x, y[2], y[3]);
    }
    for (int j = 0; j < 2; ++j) {
      out[tile * 64 + j * 32 + lane] = {sums[j][0], sums[j][1], sums[j][2], sums[j][3]};
    }
  }
}

}  // namespace

template <class T>
void Prepare(const Exec& exec, const Task<T>& task, unsigned segments, int64_t longest) {
  const auto pairs = static_cast<unsigned>(task.bc_width() / 2);
  Launch(exec, ConvolveBc<T>, dim3(Blocks(longest, kConvRows), segments), std::min(pairs, 256u), 0,
         task);
  Launch(exec, ScanSteps<T>,
         dim3(Blocks(longest, kScanChunk), segments, Blocks(task.heads, kStepHeads)), kStepThreads,
         0, task);
}

template <class T>
void PrepareCb(const Exec& exec, const Task<T>& task, unsigned segments, int64_t longest) {
  constexpr size_t kTilesBytes = sizeof(T) * 2 * kScanChunk * kBcStride;
  Launch(exec, MultiplyCb<T>, dim3(Blocks(longest, kScanChunk), segments, task.groups), kThreads,
         kTilesBytes, task);
}

template void Prepare(const Exec&, const Task<__nv_bfloat16>&, unsigned, int64_t);
template void Prepare(const Exec&, const Task<__half>&, unsigned, int64_t);
template void PrepareCb(const Exec&, const Task<__nv_bfloat16>&, unsigned, int64_t);
template void PrepareCb(const Exec&, const Task<__half>&, unsigned, int64_t);

}  // namespace pith::cuda::scan
