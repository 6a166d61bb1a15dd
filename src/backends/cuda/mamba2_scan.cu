// One block of four warps takes one head of one segment through its chunks, one after the other,
// with the state in registers: it never meets memory between chunks, and no pass over chunk states
// is needed. A warp owns 16 of the head's 64 channels: their input, their rows of the state
// (transposed, so that an accumulator is at once the second operand of C · S), and their output.
// C Bᵀ, which all heads of a group share, is made once for them; a chunk's m, which all channels of
// a head share, crosses warps. Shared memory of a block is 56 KB, so that
// up to four blocks on a multiprocessor hide each other's loads; and loops over a chunk's parts
// stay loops where registers allow it, because straight code outgrows the instruction cache.
#include <algorithm>

#include "backends/cuda/mamba2_scan_task.cuh"

namespace pith::cuda {
namespace scan {
namespace {

template <class T>
struct Shared {
  T b[kScanChunk][kBcStride];
  T c[kScanChunk][kBcStride];
  T x[kScanChunk + kPast][kXStride];  // raw inputs, the past ones first; then convolved, then y
  T m[kScanChunk][kXStride];          // C Bᵀ with decay and Δ, zero above the diagonal
  float conv_weight[kScanTaps][kScanHead];
  float conv_bias[kScanHead];
  float norm_weight[kScanHead];
  float d[kScanHead];
  alignas(16) float2 steps[kScanChunk];  // as Task's; behind the last row Δ = 0 and the last sum
  float write[kScanChunk];               // Δ with the decay to the chunk's end
  float squares[kThreads / 32][kScanChunk];
  float importance[kThreads / 32][kScanChunk];
};

template <class T>
__device__ void LoadConstants(const Task<T>& task, int head, Shared<T>& shared) {
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

// B, C and raw x of a chunk on their way into shared memory; zeros after the segment's end.
template <class T>
__device__ void StartLoads(const Task<T>& task, const Place& place, const float* past,
                           Shared<T>& shared) {
  const int64_t begin = place.begin + place.first;
  const T* const bc =
      task.bc + begin * task.bc_width() + place.head / (task.heads / task.groups) * kScanState;
  StartTile<kScanChunk, kScanState>(&shared.b[0][0], kBcStride, bc, task.bc_width(), 0, place.rows);
  StartTile<kScanChunk, kScanState>(&shared.c[0][0], kBcStride, bc + task.bc_width() / 2,
                                    task.bc_width(), 0, place.rows);
  const T* const x =
      task.proj + (begin - kPast) * task.stride + task.inner() + place.head * kScanHead;
  const int from = place.first == 0 ? kPast : 0;
  StartTile<kScanChunk + kPast, kScanHead>(&shared.x[0][0], kXStride, x, task.stride, from,
                                           place.rows + kPast);
  if (threadIdx.x < kScanChunk) {
    const bool valid = threadIdx.x < place.rows;
    const float2* const steps = task.steps + place.head * task.rows + begin;
    CopyAsync8(&shared.steps[threadIdx.x], steps + (valid ? threadIdx.x : 0), valid);
    // What the next chunk and this one's gate read comes from memory to the L2 meanwhile.
    const int64_t next = place.first + kScanChunk + threadIdx.x;
    if (next < place.count) Prefetch(x + (kPast + kScanChunk + threadIdx.x) * task.stride);
    if (valid) {
      Prefetch(task.proj + (begin + threadIdx.x) * task.stride + place.head * kScanHead);
    }
  }
  CommitCopies();
  if (place.first > 0) return;
  AwaitCopies<0>();  // the zeros before the first row come first
  __syncthreads();
  for (int i = threadIdx.x; i < kPast * kScanHead; i += kThreads) {
    shared.x[i / kScanHead][i % kScanHead] =
        T(past[i / kScanHead * task.channels() + place.head * kScanHead + i % kScanHead]);
  }
}

// x ← silu(convolution), in place, of the warp's 16 channels: lane l takes two of them in 18 rows
// (the last ones in 10), so that no two lanes meet in a bank.
template <bool kKeep, class T>
__device__ void ConvolveX(const Task<T>& task, const Place& place, Shared<T>& shared) {
  const int lane = threadIdx.x % 32;
  const int c = threadIdx.x / 32 * kTile + lane % 8 * 2;
  constexpr int kRows = 18;
  const int first = lane / 8 * kRows;
  const auto at = [&](int row) -> uint32_t& {
    return *reinterpret_cast<uint32_t*>(&shared.x[row][c]);
  };
  float2 weight[kScanTaps], window[kScanTaps];
#pragma unroll
  for (int k = 0; k < kScanTaps; ++k) {
    weight[k] = *reinterpret_cast<const float2*>(&shared.conv_weight[k][c]);
  }
  const float2 bias = *reinterpret_cast<const float2*>(&shared.conv_bias[c]);
#pragma unroll
  for (int k = 0; k < kPast; ++k) window[k + 1] = Unpack<T>(at(first + k));
  __syncwarp();  // the rows before a lane's own are another lane's, which is about to change them
#pragma unroll 6
  for (int r = first; r < first + kRows; ++r) {
    if (r >= kScanChunk) break;
#pragma unroll
    for (int k = 0; k < kPast; ++k) window[k] = window[k + 1];
    window[kPast] = Unpack<T>(at(kPast + r));
    float2 sum = bias;
#pragma unroll
    for (int k = 0; k < kScanTaps; ++k) {
      sum.x = fmaf(weight[k].x, window[k].x, sum.x);
      sum.y = fmaf(weight[k].y, window[k].y, sum.y);
    }
    sum = {FastSilu(sum.x), FastSilu(sum.y)};
    at(kPast + r) = Pack<T>(sum.x, sum.y);
    if (kKeep && task.kept_conv != nullptr && r < place.rows) {
      float* const kept = task.kept_conv + (place.begin + place.first + r) * task.channels() +
                          place.head * kScanHead + c;
      kept[0] = sum.x;
      kept[1] = sum.y;
    }
  }
  __syncwarp();
}

// What WriteState needs: rows behind the last one get its sum, since they change nothing.
template <class T>
__device__ void PrepareWrites(const Place& place, Shared<T>& shared) {
  const int t = threadIdx.x;
  if (t >= kScanChunk) return;
  const float total = shared.steps[place.rows - 1].y;
  if (t >= place.rows) shared.steps[t] = {0, total};
  shared.write[t] = t < place.rows ? shared.steps[t].x * Exp2(total - shared.steps[t].y) : 0;
}

// m[t, s] = (C Bᵀ)[t, s] · exp(Σ Δ a over (s, t]) · Δ_s for s ≤ t, 0 above the diagonal. `cb`: the
// chunk's tiles; the warp's first one is in `next`.
template <class T>
__device__ void MakeM(const float4* cb, float4 (&next)[2], Shared<T>& shared) {
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;
#pragma unroll 1
  for (int tile = kFirstTile[warp]; tile < kFirstTile[warp + 1]; ++tile) {
    const float4 now[2] = {next[0], next[1]};
    if (tile + 1 < kFirstTile[warp + 1]) LoadTile(cb, tile + 1, next);
    const int row = kTileRow[tile];
    const int t = row * kTile + lane / 4;
    const float early = shared.steps[t].y, late = shared.steps[t + 8].y;
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const int s = (tile - row * (row + 1) / 2) * kTile + 8 * j + lane % 4 * 2;
      const float4 steps = *reinterpret_cast<const float4*>(&shared.steps[s]);  // Δ, sum; twice
      const auto decayed = [&](float product, float sum, int at, float delta, float before,
                               int of) {
        return of > at ? 0 : product * Exp2(sum - before) * delta;
      };
      const float4 v{decayed(now[j].x, early, t, steps.x, steps.y, s),
                     decayed(now[j].y, early, t, steps.z, steps.w, s + 1),
                     decayed(now[j].z, late, t + 8, steps.x, steps.y, s),
                     decayed(now[j].w, late, t + 8, steps.z, steps.w, s + 1)};
      *reinterpret_cast<uint32_t*>(&shared.m[t][s]) = Pack<T>(v.x, v.y);
      *reinterpret_cast<uint32_t*>(&shared.m[t + 8][s]) = Pack<T>(v.z, v.w);
    }
  }
}

// Accumulators of a warp: its 16 channels' output over the chunk, and its part of the state.
using Output = float[kBlocks][2][4];
using State = float[kScanState / 8][4];  // Sᵀ [16 channels, 128]

// y[t] = exp(Σ Δ a up to t) · C_t · S.
template <class T>
__device__ void ReadState(const Shared<T>& shared, const State& state, Output& y) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int k = 0; k < kScanState / kTile; ++k) {
    const uint32_t low[2] = {Pack<T>(state[2 * k][0], state[2 * k][1]),
                             Pack<T>(state[2 * k + 1][0], state[2 * k + 1][1])};
    const uint32_t high[2] = {Pack<T>(state[2 * k][2], state[2 * k][3]),
                              Pack<T>(state[2 * k + 1][2], state[2 * k + 1][3])};
#pragma unroll
    for (int i = 0; i < kBlocks; ++i) {
      uint32_t a[4];
      LoadTiles(a, &shared.c[i * kTile + lane % 16][k * kTile + lane / 16 * 8]);
      MultiplyAdd<T>(y[i][0], a, low[0], low[1]);
      MultiplyAdd<T>(y[i][1], a, high[0], high[1]);
    }
  }
#pragma unroll
  for (int i = 0; i < kBlocks; ++i) {
    const float upper = Exp2(shared.steps[i * kTile + lane / 4].y);
    const float lower = Exp2(shared.steps[i * kTile + lane / 4 + 8].y);
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      y[i][j][0] *= upper;
      y[i][j][1] *= upper;
      y[i][j][2] *= lower;
      y[i][j][3] *= lower;
    }
  }
}

// y += m · x.
template <class T>
__device__ void ReadChunk(const Shared<T>& shared, Output& y) {
  const int lane = threadIdx.x % 32;
  const int p = threadIdx.x / 32 * kTile;
#pragma unroll 1
  for (int k = 0; k < kBlocks; ++k) {
    uint32_t b[4];
    LoadTilesTransposed(b, &shared.x[kPast + k * kTile + lane % 16][p + lane / 16 * 8]);
#pragma unroll
    for (int i = 0; i < kBlocks; ++i) {
      if (i < k) continue;
      uint32_t a[4];
      LoadTiles(a, &shared.m[i * kTile + lane % 16][k * kTile + lane / 16 * 8]);
      MultiplyAdd<T>(y[i][0], a, b[0], b[1]);
      MultiplyAdd<T>(y[i][1], a, b[2], b[3]);
    }
  }
}

// y += d · x.
template <class T>
__device__ void AddSkip(const Shared<T>& shared, Output& y) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int j = 0; j < 2; ++j) {
    const int p = threadIdx.x / 32 * kTile + 8 * j + lane % 4 * 2;
    const float2 d = *reinterpret_cast<const float2*>(&shared.d[p]);
#pragma unroll
    for (int i = 0; i < kBlocks; ++i) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const int t = i * kTile + lane / 4 + 8 * r;
        const float2 x = Unpack<T>(*reinterpret_cast<const uint32_t*>(&shared.x[kPast + t][p]));
        y[i][j][2 * r] = fmaf(d.x, x.x, y[i][j][2 * r]);
        y[i][j][2 * r + 1] = fmaf(d.y, x.y, y[i][j][2 * r + 1]);
      }
    }
  }
}

// S ← exp(Σ Δ a over the chunk) · S + Σ_t write_t · x_t B_tᵀ.
template <class T>
__device__ void WriteState(const Shared<T>& shared, State& state) {
  const int lane = threadIdx.x % 32;
  const int p = threadIdx.x / 32 * kTile;
  const float decay = Exp2(shared.steps[kScanChunk - 1].y);
#pragma unroll
  for (int j = 0; j < kScanState / 8; ++j) {
#pragma unroll
    for (int e = 0; e < 4; ++e) state[j][e] *= decay;
  }
#pragma unroll 1
  for (int k = 0; k < kBlocks; ++k) {
    // x transposed: rows of the tile are channels.
    uint32_t a[4];
    LoadTilesTransposed(
        a, &shared.x[kPast + k * kTile + lane / 16 * 8 + lane % 8][p + lane / 8 % 2 * 8]);
    const int t = k * kTile + lane % 4 * 2;
    const uint32_t early = Pack<T>(shared.write[t], shared.write[t + 1]);
    const uint32_t late = Pack<T>(shared.write[t + 8], shared.write[t + 9]);
    a[0] = Multiply<T>(a[0], early);
    a[1] = Multiply<T>(a[1], early);
    a[2] = Multiply<T>(a[2], late);
    a[3] = Multiply<T>(a[3], late);
#pragma unroll
    for (int n = 0; n < kScanState; n += kTile) {
      uint32_t b[4];
      LoadTilesTransposed(b, &shared.b[k * kTile + lane % 16][n + lane / 16 * 8]);
      MultiplyAdd<T>(state[n / 8], a, b[0], b[1]);
      MultiplyAdd<T>(state[n / 8 + 1], a, b[2], b[3]);
    }
  }
}

// The warp's y into its columns of x, rounded.
template <class T>
__device__ void StoreOutput(const Output& y, Shared<T>& shared) {
  const int lane = threadIdx.x % 32;
  __syncwarp();
#pragma unroll
  for (int i = 0; i < kBlocks; ++i) {
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const int p = threadIdx.x / 32 * kTile + 8 * j + lane % 4 * 2;
      const int t = kPast + i * kTile + lane / 4;
      *reinterpret_cast<uint32_t*>(&shared.x[t][p]) = Pack<T>(y[i][j][0], y[i][j][1]);
      *reinterpret_cast<uint32_t*>(&shared.x[t + 8][p]) = Pack<T>(y[i][j][2], y[i][j][3]);
    }
  }
  __syncwarp();
}

template <class T>
__device__ uint4 LoadGate(const Task<T>& task, const Place& place, int t, int p) {
  if (t >= place.rows) return make_uint4(0, 0, 0, 0);
  return __ldcs(reinterpret_cast<const uint4*>(
      task.proj + (place.begin + place.first + t) * task.stride + place.head * kScanHead + p));
}

// Gate, norm weight and squares of the warp's 16 channels, 8 of a row a lane.
template <bool kKeep, class T>
__device__ void GateRows(const Task<T>& task, const Place& place, Shared<T>& shared) {
  const int lane = threadIdx.x % 32;
  const int w = threadIdx.x / 32;
  const int p = w * kTile + lane % 2 * 8;
  // Of 16 rows, such that no two of eight lanes meet in a bank.
  const int first = lane / 2 % 4 * 2 + lane / 8 % 2 + lane / 16 * 8;
  uint4 next = LoadGate(task, place, first, p);
#pragma unroll 1
  for (int i = 0; i < kBlocks; ++i) {
    const int t = i * kTile + first;
    const uint4 z = next;
    if (i + 1 < kBlocks) next = LoadGate(task, place, t + kTile, p);
    const uint4 y = *reinterpret_cast<const uint4*>(&shared.x[kPast + t][p]);
    uint4 out;
    float square = 0;
    float2 ys[4];
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      ys[e] = Unpack<T>(reinterpret_cast<const uint32_t*>(&y)[e]);
      const float2 gate = Unpack<T>(reinterpret_cast<const uint32_t*>(&z)[e]);
      const float2 silu{FastSilu(gate.x), FastSilu(gate.y)};
      const float2 v{ys[e].x * silu.x, ys[e].y * silu.y};
      const float2 normed = task.norm_before_gate ? ys[e] : v;
      square = fmaf(normed.x, normed.x, fmaf(normed.y, normed.y, square));
      reinterpret_cast<uint32_t*>(&out)[e] =
          Pack<T>(v.x * shared.norm_weight[p + 2 * e], v.y * shared.norm_weight[p + 2 * e + 1]);
    }
    square += __shfl_xor_sync(~0u, square, 1);
    if (lane % 2 == 0) shared.squares[w][t] = square;
    if (kKeep && task.importance != nullptr) {
      float importance = 0;
      for (const float2& v : ys) {
        importance +=
            ImportanceTerm(task.importance_kind, v.x) + ImportanceTerm(task.importance_kind, v.y);
      }
      importance += __shfl_xor_sync(~0u, importance, 1);
      if (lane % 2 == 0) shared.importance[w][t] = importance;
    }
    if (t >= place.rows) continue;
    const int64_t at = (place.begin + place.first + t) * task.inner() + place.head * kScanHead + p;
    StoreWhole(task.gated + at, out);
    if (kKeep && task.kept_y != nullptr) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        task.kept_y[at + 2 * e] = ys[e].x;
        task.kept_y[at + 2 * e + 1] = ys[e].y;
      }
    }
  }
}

// Where lane l's part of the state lies: channels p and p + 8, states 8 j + 2 (l % 4) and the next.
template <class S, class Visit>
__device__ void VisitState(S* state, const Visit& visit) {
  const int lane = threadIdx.x % 32;
  const int p = threadIdx.x / 32 * kTile + lane / 4;
#pragma unroll
  for (int j = 0; j < kScanState / 8; ++j) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int n = 8 * j + lane % 4 * 2 + e % 2;
      visit(j, e, state[n * kScanHead + p + e / 2 * 8]);
    }
  }
}

// kKeep: kept_conv or kept_y is there.
template <class T, bool kKeep>
__global__ void __launch_bounds__(kThreads, 4) ScanHeads(Task<T> task) {
  extern __shared__ __align__(16) unsigned char memory[];
  Shared<T>& shared = *reinterpret_cast<Shared<T>*>(memory);
  const int head = blockIdx.x;
  const Segment segment = task.segments[blockIdx.y];
  const int64_t slot = task.slots[blockIdx.y];
  float* const past = task.conv_states + slot * task.conv_stride;
  LoadConstants(task, head, shared);
  State state;
  WithState(task, slot, head, [&](const auto* stored) {
    VisitState(stored, [&](int j, int e, const auto& v) { state[j][e] = static_cast<float>(v); });
  });
  for (int64_t first = 0; first < segment.count; first += kScanChunk) {
    const int rows = static_cast<int>(min(int64_t{kScanChunk}, segment.count - first));
    const Place place{head, segment.begin, segment.count, first, rows};
    StartLoads(task, place, past, shared);
    AwaitCopies<0>();
    __syncthreads();
    PrepareWrites(place, shared);
    const float4* const cb = TilesOf(task, ChunkIndex(segment, blockIdx.y, first / kScanChunk),
                                     head / (task.heads / task.groups));
    float4 tile[2];
    LoadTile(cb, kFirstTile[threadIdx.x / 32], tile);
    ConvolveX<kKeep>(task, place, shared);
    if (rows < kScanChunk) __syncthreads();  // PrepareWrites changed the steps
    MakeM(cb, tile, shared);
    Output y = {};
    ReadState(shared, state, y);
    __syncthreads();
    ReadChunk(shared, y);
    AddSkip(shared, y);
    WriteState(shared, state);
    StoreOutput(y, shared);
    GateRows<kKeep>(task, place, shared);
    __syncthreads();
    if (threadIdx.x < rows) {
      float sum = 0;
      for (int w = 0; w < kThreads / 32; ++w) sum += shared.squares[w][threadIdx.x];
      const int64_t at = (segment.begin + first + threadIdx.x) * task.heads + head;
      task.squares[at] = sum;
      if (kKeep && task.importance != nullptr) {
        float whole = 0;
        for (int w = 0; w < kThreads / 32; ++w) whole += shared.importance[w][threadIdx.x];
        task.importance[at] = HeadImportance(task.importance_kind, whole);
      }
    }
  }
  WithState(task, slot, head, [&](auto* stored) {
    VisitState(stored, [&](int j, int e, auto& v) {
      v = std::remove_reference_t<decltype(v)>(state[j][e]);
    });
  });
  StorePasts(task, segment, head, past);
}

}  // namespace

template <class T>
void ScanAnywhere(const Exec& exec, Task<T> task, unsigned segments, int64_t longest,
                  int64_t chunks) {
  const Scratch<float4> cb(exec, chunks * task.groups * kTiles * 64);
  task.cb = cb.data();
  PrepareCb(exec, task, segments, longest);
  const auto kernel = task.keeps() ? ScanHeads<T, true> : ScanHeads<T, false>;
  Launch(exec, kernel, dim3(task.heads, segments), kThreads, sizeof(Shared<T>), task);
}

}  // namespace scan

template <class T>
void Mamba2Scan(const Exec& exec, const Mamba2ScanArgs<T>& args) {
  const SsdArgs& ssd = *args.ssd;
  constexpr size_t kMostSegments = 65535;  // blocks in a grid's second dimension
  Require(ssd.segments.size() <= kMostSegments, ErrorCode::kUnsupported, "batch: got ",
          ssd.segments.size(), " sequences, expected at most ", kMostSegments, " on a GPU");
  int64_t longest = 0, chunks = 0, end = 0;
  for (size_t i = 0; i < ssd.segments.size(); ++i) {
    const Segment& segment = ssd.segments[i];
    PITH_CHECK(segment.begin >= end);  // for numbers of chunks and runs
    end = segment.begin + segment.count;
    longest = std::max(longest, segment.count);
    chunks = scan::ChunkIndex(segment, static_cast<int64_t>(i),
                              (segment.count + kScanChunk - 1) / kScanChunk);
  }
  const Scratch<float2> steps(exec, ssd.n_heads * args.rows);
  const scan::Task<T> task{.proj = args.proj,
                           .stride = args.stride,
                           .bc = args.bc,
                           .steps = steps.data(),
                           .rows = args.rows,
                           .gated = args.gated,
                           .squares = args.squares,
                           .kept_conv = args.kept_conv,
                           .kept_y = args.kept_y,
                           .importance = args.importance,
                           .importance_kind = args.importance_kind,
                           .conv_weight = args.conv->weight.data,
                           .conv_bias = args.conv->bias.data,
                           .conv_states = args.conv->states.base,
                           .conv_stride = args.conv->states.stride,
                           .states = ssd.states.base,
                           .state_stride = ssd.states.stride,
                           .state_type = ssd.states.type,
                           .segments = cuda::Place(exec, ssd.segments),
                           .slots = cuda::Place(exec, ssd.states.slots),
                           .dt_bias = ssd.dt_bias.data,
                           .a = ssd.a.data,
                           .d = ssd.d.data,
                           .norm_weight = args.gate->norm_weight.data,
                           .dt_min = ssd.dt_min,
                           .dt_max = ssd.dt_max,
                           .heads = static_cast<int>(ssd.n_heads),
                           .groups = static_cast<int>(ssd.n_groups),
                           .d_has_hdim = ssd.d_has_hdim,
                           .norm_before_gate = args.gate->norm_before_gate};
  const auto segments = static_cast<unsigned>(ssd.segments.size());
  scan::Prepare(exec, task, segments, longest);
  if (GpuOf(exec).warpgroup()) {
    scan::ScanOnHopper(exec, task, ssd.segments);
  } else {
    scan::ScanAnywhere(exec, task, segments, longest, chunks);
  }
}

template void Mamba2Scan(const Exec& exec, const Mamba2ScanArgs<__nv_bfloat16>& args);
template void Mamba2Scan(const Exec& exec, const Mamba2ScanArgs<__half>& args);

}  // namespace pith::cuda
