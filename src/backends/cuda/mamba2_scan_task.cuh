// What the kernels of a Mamba-2 scan share: what they are told, and the order of their parts.
#ifndef PITH_BACKENDS_CUDA_MAMBA2_SCAN_TASK_CUH_
#define PITH_BACKENDS_CUDA_MAMBA2_SCAN_TASK_CUH_

#include "backends/cuda/launch.cuh"
#include "backends/cuda/mamba2_scan.cuh"
#include "backends/cuda/tensor_core.cuh"

namespace pith::cuda::scan {

constexpr int kThreads = 128;
constexpr int kTile = 16;                    // rows and columns of a product's tile
constexpr int kBlocks = kScanChunk / kTile;  // tiles in a chunk
constexpr int kPast = kScanTaps - 1;
constexpr int kBcStride = kScanState + 8;  // rows of shared tiles: no two rows of eight meet
constexpr int kXStride = kScanHead + 8;    // in a bank
constexpr float kLog2E = 1.4426950408889634f;

// All that the kernels read, by value.
template <class T>
struct Task {
  const T* proj;
  int64_t stride;
  T* bc;
  float2*
      steps;  // [heads, rows]: Δ, and the sum of Δ a log₂e from the chunk's first row to this one
  int64_t rows;
  // [ChunkIndex, groups, kTiles, 2, 32]: tiles of C Bᵀ as the lanes of a warp hold them.
  // ScanOnHopper makes its own.
  float4* cb = nullptr;
  T* gated;
  float* squares;
  float* kept_conv;
  float* kept_y;
  float* importance;
  ImportanceKind importance_kind;
  const float* conv_weight;
  const float* conv_bias;
  float* conv_states;
  int64_t conv_stride;
  float* states;
  int64_t state_stride;  // in floats
  DType state_type;
  // Where ScanOnHopper cuts heads into pieces.
  float4* run_states = nullptr;
  unsigned* run_tickets =
      nullptr;  // how many blocks have begun; for each state whether it is there
  const Segment* segments;
  const int32_t* slots;
  const float* dt_bias;
  const float* a;
  const float* d;
  const float* norm_weight;
  float dt_min;
  float dt_max;
  int heads;
  int groups;
  bool d_has_hdim;
  bool norm_before_gate;

  bool keeps() const { return kept_conv != nullptr || kept_y != nullptr || importance != nullptr; }
  __host__ __device__ int64_t inner() const { return int64_t{heads} * kScanHead; }
  __host__ __device__ int64_t bc_width() const { return int64_t{2} * groups * kScanState; }
  __host__ __device__ int64_t channels() const { return inner() + bc_width(); }
};

// Calls visit(first number) with the head's state in the slot, as its type's pointer.
template <class Task, class Visit>
__device__ void WithState(const Task& task, int64_t slot, int head, const Visit& visit) {
  float* const state = task.states + slot * task.state_stride;
  const int64_t first = int64_t{head} * kScanState * kScanHead;
  if (task.state_type == DType::kF32) return visit(state + first);
  if (task.state_type == DType::kF16) return visit(reinterpret_cast<__half*>(state) + first);
  visit(reinterpret_cast<__nv_bfloat16*>(state) + first);
}

__device__ inline float Exp2(float v) {
  float r;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(v));
  return r;
}

// v / (1 + e^−v) by the approximate reciprocal, whose error is far below 16 bits.
__device__ inline float FastSilu(float v) {
  float r;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(1 + Exp2(-kLog2E * v)));
  return v * r;
}

// What one value adds to a head's part of its row's importance. NaN stays NaN.
__device__ inline float ImportanceTerm(ImportanceKind kind, float v) {
  if (kind == ImportanceKind::kClip) return v < 0 ? 0 : v;
  return kind == ImportanceKind::kL1 ? fabsf(v) : kind == ImportanceKind::kL2 ? v * v : v;
}

// Of the sum over a head: what RowImportance of the parts as if they were channels, of kL2 or else
// kNoClip, makes the row's importance of.
__device__ inline float HeadImportance(ImportanceKind kind, float sum) {
  const float mean = sum / kScanHead;
  return kind == ImportanceKind::kL2 ? sqrtf(mean) : mean;
}

// The rows of a tile: each thread copies the same 16 bytes of rows kStep
// apart. Rows that are not in [from, to) become zeros.
template <int kRows, int kCols, class T>
__device__ void StartTile(T* tile, int tile_stride, const T* source, int64_t stride, int from,
                          int to) {
  constexpr int kPieces = kCols / 8;
  constexpr int kStep = kThreads / kPieces;
  const int first = threadIdx.x / kPieces;
  const int column = threadIdx.x % kPieces * 8;
  const T* read = source + first * stride + column;
  T* write = tile + first * tile_stride + column;
#pragma unroll
  for (int row = 0; row < kRows; row += kStep) {
    const int r = row + first;
    if (row + kStep <= kRows || r < kRows) {
      const bool valid = r >= from && r < to;
      CopyAsync(write, valid ? read : source + from * stride, valid);
    }
    read += kStep * stride;
    write += kStep * tile_stride;
  }
}

constexpr int kTiles = kBlocks * (kBlocks + 1) / 2;
// The tiles of m on and below its diagonal, counted row by row: warp w makes those from
// kFirstTile[w] on.
__device__ constexpr int kFirstTile[] = {0, 2, 5, 8, 10};
__device__ constexpr int kTileRow[] = {0, 1, 1, 2, 2, 2, 3, 3, 3, 3};

// A number for each chunk of any segment, where segments lie one after the other.
__host__ __device__ inline int64_t ChunkIndex(const Segment& segment, int64_t which,
                                              int64_t chunk) {
  return segment.begin / kScanChunk + which + chunk;
}

template <class T>
__device__ float4* TilesOf(const Task<T>& task, int64_t chunk, int group) {
  return task.cb + ((chunk * task.groups + group) * kTiles) * 64;
}

__device__ inline void LoadTile(const float4* cb, int tile, float4 (&out)[2]) {
  for (int j = 0; j < 2; ++j) out[j] = __ldg(cb + tile * 64 + j * 32 + threadIdx.x % 32);
}

// The chunk that a block works on.
struct Place {
  int head;
  int64_t begin;  // the segment's first row
  int64_t count;  // its rows
  int64_t first;  // the chunk's first row, counted from begin
  int rows;       // of the chunk
};

// The last inputs of channels [from, from + count) become the convolution's state.
template <class T>
__device__ void StorePast(const Task<T>& task, const Segment& segment, float* past, int64_t from,
                          int count) {
  const T* const in = task.proj + task.inner();
  for (int64_t c = from + threadIdx.x; c < from + count; c += kThreads) {
    for (int k = 0; k < kPast; ++k) {
      const int64_t t = segment.count - kPast + k;
      past[k * task.channels() + c] =
          t >= 0 ? static_cast<float>(in[(segment.begin + t) * task.stride + c])
                 : past[(t + kPast) * task.channels() + c];
    }
  }
}

// The same for what a head's block read: x of the head and, by the first head of a group, B and C.
template <class T>
__device__ void StorePasts(const Task<T>& task, const Segment& segment, int head, float* past) {
  StorePast(task, segment, past, int64_t{head} * kScanHead, kScanHead);
  const int heads = task.heads / task.groups;
  if (head % heads != 0) return;
  const int64_t b = task.inner() + int64_t{head / heads} * kScanState;
  StorePast(task, segment, past, b, kScanState);
  StorePast(task, segment, past, b + task.bc_width() / 2, kScanState);
}

// bc and steps of all chunks.
template <class T>
void Prepare(const Exec& exec, const Task<T>& task, unsigned segments, int64_t longest);
// cb of all chunks, when bc is there.
template <class T>
void PrepareCb(const Exec& exec, const Task<T>& task, unsigned segments, int64_t longest);

// By Hopper's warpgroup products, where Gpu::warpgroup says so.
template <class T>
void ScanOnHopper(const Exec& exec, Task<T> task, std::span<const Segment> segments);

}  // namespace pith::cuda::scan

#endif  // PITH_BACKENDS_CUDA_MAMBA2_SCAN_TASK_CUH_
