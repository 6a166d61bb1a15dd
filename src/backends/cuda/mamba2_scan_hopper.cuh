// The parts of the scan by Hopper's warpgroup products, whose operands come from shared memory
// without passing through registers. A block is one warpgroup and takes one head of one segment;
// warp w owns rows 16 w … of each chunk: their convolution, their rows of m, their output and gate.
// The state is an accumulator, transposed [64 channels, 128], and goes to shared memory once a
// chunk, in 16 bits, to be read by the next one.
#ifndef PITH_BACKENDS_CUDA_MAMBA2_SCAN_HOPPER_CUH_
#define PITH_BACKENDS_CUDA_MAMBA2_SCAN_HOPPER_CUH_

#include <cuda/atomic>

#include "backends/cuda/mamba2_scan_task.cuh"
#include "backends/cuda/warpgroup.cuh"

namespace pith::cuda::scan {

// Chunks that a block takes where a segment is shared by several: see ScanOnHopper.
constexpr int kRunChunks = 4;
constexpr int64_t kRunRows = int64_t{kRunChunks} * kScanChunk;
constexpr int64_t kRunState = int64_t{kScanState} * kScanHead / 4;  // float4s of a head

#if PITH_HAS_WARPGROUP

struct Shared {
  unsigned char b[2][kTileBytes];   // [64 rows, 64 states] twice
  unsigned char c[2][kTileBytes];   // likewise; B of every other chunk where only states are made
  unsigned char x[kTileBytes];      // [64 rows, 64 channels] behind the convolution
  unsigned char write[kTileBytes];  // x · Δ · the decay to the chunk's end; then y
  unsigned char state[2][kTileBytes];  // [64 channels, 64 states] twice
  alignas(16) float2 steps[2][kScanChunk];
  uint32_t weights[kScanChunk];  // Δ · the decay to the chunk's end, twice in 16 bits
  float conv_weight[kScanTaps][kScanHead];
  float conv_bias[kScanHead];
  float norm_weight[kScanHead];
  float d[kScanHead];
};

using Output = float[8][4];   // y [64 rows, 64 channels]
using State = float[16][4];   // Sᵀ [64 channels, 128 states]
constexpr int kRows = kTile;  // a warp's

template <class T>
struct Block {
  const Task<T>& task;
  Shared& shared;
  const int head;
  const int which;  // segment
  const int group;  // whose B and C the head reads
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;
  const Segment segment;
  float* const past;  // the convolution's state
  int64_t first = 0;  // of the chunk
  int rows = 0;       // of the chunk

  __device__ Block(const Task<T>& task, Shared& shared, int head, int which)
      : task(task),
        shared(shared),
        head(head),
        which(which),
        group(head / (task.heads / task.groups)),
        segment(task.segments[which]),
        past(task.conv_states + task.slots[which] * task.conv_stride) {}

  __device__ void Enter(int64_t chunk_first) {
    first = chunk_first;
    rows = static_cast<int>(min(int64_t{kScanChunk}, segment.count - first));
  }

  __device__ void LoadConstants() {
    for (int i = threadIdx.x; i < kScanHead; i += kThreads) {
      const int64_t channel = int64_t{head} * kScanHead + i;
      for (int k = 0; k < kScanTaps; ++k) {
        shared.conv_weight[k][i] = task.conv_weight[channel * kScanTaps + k];
      }
      shared.conv_bias[i] = task.conv_bias != nullptr ? task.conv_bias[channel] : 0;
      shared.norm_weight[i] = task.norm_weight != nullptr ? task.norm_weight[channel] : 1;
      shared.d[i] = task.d[task.d_has_hdim ? channel : head];
    }
  }

  // B and steps of the chunk that begins at row `from` of the segment, on their way; zeros after
  // the segment's end. kOutputs: C too, and z of that chunk comes to the L2. Else `place` is 0
  // or 1.
  template <bool kOutputs>
  __device__ void StartLoads(int64_t from, int place = 0) {
    const int count = static_cast<int>(min(int64_t{kScanChunk}, segment.count - from));
    const int64_t begin = segment.begin + from;
    // A thread copies the same 16 bytes of every eighth row.
    const int piece = threadIdx.x % 16, row = threadIdx.x / 16;
    const T* b = task.bc + (begin + row) * task.bc_width() + group * kScanState + piece * 8;
    const int64_t step = 8 * task.bc_width();
    const int64_t half = task.bc_width() / 2;
    unsigned char* const to_b =
        shared.b[piece / 8] + place * sizeof(shared.b) + Swizzled(row, piece % 8);
    unsigned char* const to_c = to_b + sizeof(shared.b);
    if (count == kScanChunk) {
#pragma unroll
      for (int i = 0; i < kScanChunk / 8; ++i, b += step) {
        CopyAsync(to_b + i * 1024, b, true);
        if (kOutputs) CopyAsync(to_c + i * 1024, b + half, true);
      }
    } else {
#pragma unroll 1
      for (int i = 0; i < kScanChunk / 8; ++i, b += step) {
        const bool valid = row + 8 * i < count;
        const T* const source = valid ? b : task.bc;
        CopyAsync(to_b + i * 1024, source, valid);
        if (kOutputs) CopyAsync(to_c + i * 1024, source + half, valid);
      }
    }
    if (threadIdx.x < kScanChunk) {
      const bool valid = threadIdx.x < count;
      CopyAsync8(&shared.steps[place][threadIdx.x],
                 task.steps + head * task.rows + begin + (valid ? threadIdx.x : 0), valid);
      if (kOutputs && valid) {
        Prefetch(task.proj + (begin + threadIdx.x) * task.stride + int64_t{head} * kScanHead);
      }
    }
    CommitCopies();
  }

  // Raw x of the warp's rows and of the three before them, two channels a lane.
  __device__ void LoadX(int64_t from, uint32_t (&x)[kRows + kPast]) const {
    const int64_t row = from + warp * kRows - kPast;
    const int c = head * kScanHead + 2 * lane;
    const T* in = task.proj + (segment.begin + row) * task.stride + task.inner() + c;
    if (row >= 0 && row + kRows + kPast <= segment.count) {
#pragma unroll
      for (int i = 0; i < kRows + kPast; ++i, in += task.stride) {
        x[i] = *reinterpret_cast<const uint32_t*>(in);
      }
      return;
    }
#pragma unroll
    for (int i = 0; i < kRows + kPast; ++i, in += task.stride) {
      x[i] = 0;
      if (row + i >= segment.count) continue;
      if (row + i >= 0) {
        x[i] = *reinterpret_cast<const uint32_t*>(in);
      } else {
        const float* const old = past + (row + i + kPast) * task.channels() + c;
        x[i] = Pack<T>(old[0], old[1]);
      }
    }
  }

  // shared.weights of the warp's rows; rows behind the segment's last one change nothing.
  __device__ void MakeWeights(int place = 0) {
    const int t = warp * kRows + lane;
    const float total = shared.steps[place][rows - 1].y;
    if (lane < kRows) {
      const float2 step = shared.steps[place][t];
      const float weight = t < rows ? step.x * Exp2(total - step.y) : 0;
      shared.weights[t] = Pack<T>(weight, weight);
    }
    __syncwarp();
  }

  // write of the warp's rows, and x with kOutputs.
  template <bool kPlain, bool kOutputs>
  __device__ void Convolve(const uint32_t (&raw)[kRows + kPast]) {
    const int c = 2 * lane;
    float2 weight[kScanTaps], window[kScanTaps];
#pragma unroll
    for (int k = 0; k < kScanTaps; ++k) {
      weight[k] = *reinterpret_cast<const float2*>(&shared.conv_weight[k][c]);
    }
    const float2 bias = *reinterpret_cast<const float2*>(&shared.conv_bias[c]);
    unsigned char* const to_x = shared.x + warp * 2048 + lane % 4 * 4;
#pragma unroll
    for (int k = 0; k < kPast; ++k) window[k + 1] = Unpack<T>(raw[k]);
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const int t = warp * kRows + r;
#pragma unroll
      for (int k = 0; k < kPast; ++k) window[k] = window[k + 1];
      window[kPast] = Unpack<T>(raw[kPast + r]);
      float2 sum = bias;
#pragma unroll
      for (int k = 0; k < kScanTaps; ++k) {
        sum.x = fmaf(weight[k].x, window[k].x, sum.x);
        sum.y = fmaf(weight[k].y, window[k].y, sum.y);
      }
      sum = {FastSilu(sum.x), FastSilu(sum.y)};
      const uint32_t pair = Pack<T>(sum.x, sum.y);
      const int at = r / 8 * 1024 + Swizzled(r % 8, lane / 4);
      if (kOutputs) *reinterpret_cast<uint32_t*>(to_x + at) = pair;
      *reinterpret_cast<uint32_t*>(to_x + (shared.write - shared.x) + at) =
          Multiply<T>(pair, shared.weights[t]);
      if (!kPlain && task.kept_conv != nullptr && t < rows) {
        float* const kept = task.kept_conv + (segment.begin + first + t) * task.channels() +
                            int64_t{head} * kScanHead + c;
        kept[0] = sum.x;
        kept[1] = sum.y;
      }
    }
  }

  // y = C · S, on its way.
  __device__ void ReadState(Output& y) const {
    BeginProducts();
#pragma unroll
    for (int k = 0; k < kScanState / 16; ++k) {
      const int at = k % 4 * 32;
      Product64<T, 0, 0>(y, TileAt(shared.c[k / 4] + at), TileAt(shared.state[k / 4] + at), k > 0);
    }
    CommitProducts();
  }

  // C Bᵀ of the chunk, on its way.
  __device__ void MultiplyCb(Output& cb) const {
    BeginProducts();
#pragma unroll
    for (int k = 0; k < kScanState / 16; ++k) {
      const int at = k % 4 * 32;
      Product64<T, 0, 0>(cb, TileAt(shared.c[k / 4] + at), TileAt(shared.b[k / 4] + at), k > 0);
    }
    CommitProducts();
  }

  // The warp's rows of m, as operands: (C Bᵀ)[t, s] · exp(Σ Δ a over (s, t]) · Δ_s for s ≤ t, and D
  // more where s = t, if it is one number a head.
  template <bool kPlain>
  __device__ void MakeM(const Output& cb, uint32_t (&m)[kBlocks][4]) const {
    const int row = lane / 4, column = lane % 4 * 2;  // of an 8 × 8 tile
    const float early = shared.steps[0][warp * kRows + row].y;
    const float late = shared.steps[0][warp * kRows + row + 8].y;
#pragma unroll
    for (int block = 0; block < kBlocks; ++block) {
#pragma unroll
      for (int e = 0; e < 4; ++e) m[block][e] = 0;
      if (block > warp) continue;
      float of[4][2];  // tiles: rows 0 … 7, 8 … 15 with columns 0 … 7, then both with 8 … 15
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const float4 steps =
            *reinterpret_cast<const float4*>(&shared.steps[0][block * kTile + 8 * j + column]);
        const float(&products)[4] = cb[2 * block + j];
        of[2 * j][0] = products[0] * Exp2(early - steps.y) * steps.x;
        of[2 * j][1] = products[1] * Exp2(early - steps.w) * steps.z;
        of[2 * j + 1][0] = products[2] * Exp2(late - steps.y) * steps.x;
        of[2 * j + 1][1] = products[3] * Exp2(late - steps.w) * steps.z;
      }
      if (block == warp) {
        const float d = !kPlain && task.d_has_hdim ? 0 : shared.d[0];
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const float skip = column + e == row ? d : 0;
          of[0][e] = column + e > row ? 0 : of[0][e] + skip;
          of[2][e] = 0;
          of[3][e] = column + e > row ? 0 : of[3][e] + skip;
        }
      }
#pragma unroll
      for (int e = 0; e < 4; ++e) m[block][e] = Pack<T>(of[e][0], of[e][1]);
    }
  }

  // y ← exp(Σ Δ a up to t) · y.
  __device__ void DecayOutput(Output& y) const {
    const int t = warp * kRows + lane / 4;
    const float early = Exp2(shared.steps[0][t].y), late = Exp2(shared.steps[0][t + 8].y);
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      y[j][0] *= early;
      y[j][1] *= early;
      y[j][2] *= late;
      y[j][3] *= late;
    }
  }
  // S ← exp(Σ Δ a over the chunk) · S.
  __device__ void DecayState(State& state, int place = 0) const {
    const float decay = Exp2(shared.steps[place][rows - 1].y);
#pragma unroll
    for (int j = 0; j < 16; ++j) {
#pragma unroll
      for (int e = 0; e < 4; ++e) state[j][e] *= decay;
    }
  }

  // y += m · x; S += Σ_t write_t B_tᵀ, on their way.
  __device__ void ReadAndWrite(const uint32_t (&m)[kBlocks][4], Output& y, State& state) const {
    BeginProducts();
#pragma unroll
    for (int k = 0; k < kBlocks; ++k) {
      ProductFrom<T, 1>(y, m[k], TileAt(shared.x + k * 2048));
      Product128<T, 1, 1>(state, TileAt(shared.write + k * 2048),
                          TileAt(shared.b[0] + k * 2048, kTileBytes));
    }
    CommitProducts();
  }

  // S as in ReadAndWrite, alone.
  __device__ void Write(State& state, int place) const {
    BeginProducts();
#pragma unroll
    for (int k = 0; k < kBlocks; ++k) {
      Product128<T, 1, 1>(state, TileAt(shared.write + k * 2048),
                          TileAt(shared.b[0] + place * sizeof(shared.b) + k * 2048, kTileBytes));
    }
    CommitProducts();
    AwaitProducts();
    Settle(state);
  }

  // The warp's 16 rows of an accumulator into tiles, eight columns twice a store.
  template <int kColumns>
  __device__ void StoreRows(const float (&d)[kColumns][4], unsigned char* tiles) const {
    const int row = warp * 16 + lane % 16;
    const uint32_t base = SharedAddress(tiles + Swizzled(row, lane / 16));
#pragma unroll
    for (int j = 0; j < kColumns; j += 2) {
      const uint32_t address = (base ^ (j % 8 * 16)) + j / 8 * kTileBytes;
      StoreTiles(address, {Pack<T>(d[j][0], d[j][1]), Pack<T>(d[j][2], d[j][3]),
                           Pack<T>(d[j + 1][0], d[j + 1][1]), Pack<T>(d[j + 1][2], d[j + 1][3])});
    }
  }

  // z of the warp's rows, eight lanes a row.
  __device__ void LoadGates(uint4 (&z)[4]) const {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int t = warp * kRows + 4 * i + lane / 8;
      z[i] = make_uint4(0, 0, 0, 0);
      if (t < rows) {
        z[i] = __ldcs(reinterpret_cast<const uint4*>(task.proj +
                                                     (segment.begin + first + t) * task.stride +
                                                     int64_t{head} * kScanHead + lane % 8 * 8));
      }
    }
  }

  // Gate, norm weight and squares of the warp's rows; d x where D is a number a channel. Calls
  // load() when z is there: loads share a counter, so that who waits for some waits for all.
  template <bool kPlain, class Load>
  __device__ void Gate(const uint4 (&z)[4], const Load& load) {
    const int p = lane % 8 * 8;
    int t = warp * kRows + lane / 8;
    const int64_t row = segment.begin + first + t;
    int64_t to = row * task.inner() + int64_t{head} * kScanHead + p;
    int64_t of_row = row * task.heads + head;
#pragma unroll
    for (int i = 0; i < 4; ++i, t += 4, to += 4 * task.inner(), of_row += 4 * task.heads) {
      const int at = Swizzled(t, lane % 8);
      const uint4 y = *reinterpret_cast<const uint4*>(shared.write + at);
      uint32_t out[4];
      float2 ys[4];
#pragma unroll
      for (int e = 0; e < 4; ++e) ys[e] = Unpack<T>(reinterpret_cast<const uint32_t*>(&y)[e]);
      if (!kPlain && task.d_has_hdim) {
        const uint4 x = *reinterpret_cast<const uint4*>(shared.x + at);
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const float2 d = *reinterpret_cast<const float2*>(&shared.d[p + 2 * e]);
          const float2 in = Unpack<T>(reinterpret_cast<const uint32_t*>(&x)[e]);
          ys[e] = {fmaf(d.x, in.x, ys[e].x), fmaf(d.y, in.y, ys[e].y)};
        }
      }
      float square = 0;
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const float2 w = *reinterpret_cast<const float2*>(&shared.norm_weight[p + 2 * e]);
        const float2 gate = Unpack<T>(reinterpret_cast<const uint32_t*>(&z[i])[e]);
        const float2 v{ys[e].x * FastSilu(gate.x), ys[e].y * FastSilu(gate.y)};
        const float2 normed = !kPlain && task.norm_before_gate ? ys[e] : v;
        square = fmaf(normed.x, normed.x, fmaf(normed.y, normed.y, square));
        out[e] = Pack<T>(v.x * w.x, v.y * w.y);
      }
      if (i == 0) load();
      for (int offset = 1; offset < 8; offset *= 2) {
        square += __shfl_xor_sync(~0u, square, offset);
      }
      float importance = 0;
      if (!kPlain && task.importance != nullptr) {
        for (const float2& v : ys) {
          importance +=
              ImportanceTerm(task.importance_kind, v.x) + ImportanceTerm(task.importance_kind, v.y);
        }
        for (int offset = 1; offset < 8; offset *= 2) {
          importance += __shfl_xor_sync(~0u, importance, offset);
        }
      }
      if (t >= rows) continue;
      if (lane % 8 == 0) task.squares[of_row] = square;
      if (!kPlain && task.importance != nullptr && lane % 8 == 0) {
        task.importance[of_row] = HeadImportance(task.importance_kind, importance);
      }
      StoreWhole(task.gated + to, make_uint4(out[0], out[1], out[2], out[3]));
      if (!kPlain && task.kept_y != nullptr) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          task.kept_y[to + 2 * e] = ys[e].x;
          task.kept_y[to + 2 * e + 1] = ys[e].y;
        }
      }
    }
  }

  // Where the thread's part of the state lies: [states, channels].
  template <class Visit>
  __device__ void VisitState(const Visit& visit) const {
    WithState(task, task.slots[which], head, [&](auto* state) {
      auto* const stored = state + warp * 16 + lane / 4;
#pragma unroll
      for (int j = 0; j < 16; ++j) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          visit(j, e, stored[(8 * j + lane % 4 * 2 + e % 2) * kScanHead + e / 2 * 8]);
        }
      }
    });
  }

  __device__ void LoadState(State& state) const {
    VisitState([&](int j, int e, const auto& v) { state[j][e] = static_cast<float>(v); });
  }
  __device__ void StoreState(const State& state) const {
    VisitState(
        [&](int j, int e, auto& v) { v = std::remove_reference_t<decltype(v)>(state[j][e]); });
  }

  // A number for each run of any head.
  __device__ int64_t RunIndex(int64_t run) const {
    return (segment.begin / kRunRows + which + run) * task.heads + head;
  }
  __device__ auto Flag(int64_t index) const {
    return ::cuda::atomic_ref<unsigned, ::cuda::thread_scope_device>(task.run_tickets[1 + index]);
  }
  // The state, for the block that goes on from it.
  __device__ void HandOver(const State& state, int64_t index) const {
    float4* const to = task.run_states + index * kRunState + threadIdx.x;
#pragma unroll
    for (int j = 0; j < 16; ++j) {
      to[j * kThreads] = {state[j][0], state[j][1], state[j][2], state[j][3]};
    }
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) Flag(index).store(1, ::cuda::memory_order_release);
  }
  __device__ void TakeOver(State& state, int64_t index) const {
    if (threadIdx.x == 0) {
      while (Flag(index).load(::cuda::memory_order_acquire) == 0) __nanosleep(100);
    }
    __syncthreads();
    const float4* const from = task.run_states + index * kRunState + threadIdx.x;
#pragma unroll
    for (int j = 0; j < 16; ++j) {
      const float4 v = from[j * kThreads];
      state[j][0] = v.x;
      state[j][1] = v.y;
      state[j][2] = v.z;
      state[j][3] = v.w;
    }
  }
};

#endif  // PITH_HAS_WARPGROUP

}  // namespace pith::cuda::scan

#endif  // PITH_BACKENDS_CUDA_MAMBA2_SCAN_HOPPER_CUH_
