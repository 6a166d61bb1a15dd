// A block reads 32 channels of one sequence from its first row to its last. Four lanes share a
// channel's 16 states, which they hold in registers; rows come in tiles of 32 to shared memory
// while the tile before is read. The cost is one exponential a state and row, 16 of which a
// multiprocessor makes in a cycle: all else is arranged to need fewer issues than these take.
#include "backends/cuda/launch.cuh"
#include "backends/cuda/mamba1_scan.cuh"
#include "backends/cuda/tensor_core.cuh"

namespace pith::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kLanes = 4;  // that share a channel
constexpr int kCells = kMamba1State / kLanes;
constexpr int kChannels = kThreads / kLanes;
constexpr int kTile = 32;                      // rows
constexpr int kPieces = 8;                     // channels that a thread sends or writes at once
constexpr int kAcross = kChannels / kPieces;   // threads that share a row then
static_assert(kThreads == kTile * kAcross);    // each has one piece of a tile
static_assert(2 * kMamba1State == kChannels);  // B and C are sent as the others are
static_assert(kCells == 4 && kLanes == 4);

template <class T>
struct Task {
  Mamba1Rows<T> rows;
  const float* dt_bias;
  const float* a;
  const float* d;
  float* y;  // or null
  int64_t y_stride;
  const Segment* segments;
  const int32_t* slots;
  float* states;
  int64_t state_stride;
  int inner;
};

// A tile as it comes.
template <class T>
struct Sent {
  T x[kTile][kChannels];
  T dt[kTile][kChannels];
  T z[kTile][kChannels];
  T bc[kTile][2 * kMamba1State];
};

// A tile as the recurrence reads it. Channels lie apart so that no two of a warp share a bank.
struct Made {
  float dt[kChannels][kTile + 4];  // Δ
  float in[kChannels][kTile + 4];  // Δ x
  float bc[kTile][2 * kMamba1State];
  float y[kTile][kChannels + 8];
};

template <class T>
struct Piece {
  float v[kPieces];
  __device__ explicit Piece(const T* from) {
    const uint4 raw = *reinterpret_cast<const uint4*>(from);
    const uint32_t pairs[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float2 pair = Unpack<T>(pairs[i]);
      v[2 * i] = pair.x;
      v[2 * i + 1] = pair.y;
    }
  }
};

// The GPU's own functions, subnormal numbers being zeros.
__device__ inline float Exp2(float v) {
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(v));
  return result;
}
__device__ inline float Log2(float v) {
  float result;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(v));
  return result;
}
__device__ inline float Reciprocal(float v) {
  float result;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(v));
  return result;
}

constexpr float kLog2E = 1.44269504f;
constexpr float kLn2 = 0.693147181f;

// log(1 + eᵛ). The GPU's logarithm is off by up to 2⁻²¹, whatever it gives, which is too much of a
// small result: there the series stands, whose next term is below 2⁻²⁰ of it.
__device__ inline float FastSoftplus(float v) {
  const float e = Exp2(v * kLog2E);
  const float series = e * fmaf(e, fmaf(e, 0.333333333f, -0.5f), 1.0f);
  const float sum = e < 0x1p-6f ? series : kLn2 * Log2(1 + e);
  return v > 20 ? v : sum;
}

// −0 where e⁻ᵛ overflows.
__device__ inline float FastSilu(float v) { return v * Reciprocal(1 + Exp2(v * -kLog2E)); }

template <class T>
struct Block {
  const Task<T>& task;
  Segment segment;
  int channel;  // the first one

  // What this thread sends and writes of a tile: a piece of a row.
  __device__ static int row() { return threadIdx.x / kAcross; }
  __device__ static int column() { return threadIdx.x % kAcross * kPieces; }

  // Rows past the segment's end are zeros.
  __device__ void Send(int64_t first, Sent<T>& to) const {
    const bool valid = first + row() < segment.count;
    const int64_t at = segment.begin + (valid ? first + row() : 0);
    const int64_t c = channel + column();
    const Mamba1Rows<T>& rows = task.rows;
    CopyAsync(&to.dt[row()][column()], rows.dt + at * task.inner + c, valid);
    CopyAsync(&to.x[row()][column()], rows.conv + at * task.inner + c, valid);
    CopyAsync(&to.bc[row()][column()], rows.bc + at * rows.bc_stride + column(), valid);
    CopyAsync(&to.z[row()][column()], rows.proj + at * 2 * task.inner + task.inner + c, valid);
    CommitCopies();
  }

  // A lane has a channel, a warp every fourth quad of rows. Rows past the segment's end leave every
  // state as it is, to the bit: decay 1, and −0 · 0 is added.
  __device__ void Prepare(int64_t first, float bias, const Sent<T>& from, Made& made) const {
    const int lane = threadIdx.x % 32;
    const int left = static_cast<int>(min(segment.count - first, int64_t{kTile}));
#pragma unroll
    for (int quad = threadIdx.x / 32; quad < kTile / 4; quad += kThreads / 32) {
      float dt[4], in[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int r = 4 * quad + i;
        const bool valid = r < left;
        const float step = FastSoftplus(static_cast<float>(from.dt[r][lane]) + bias);
        dt[i] = valid ? step : 0.0f;
        in[i] = valid ? __fmul_rn(step, static_cast<float>(from.x[r][lane])) : -0.0f;
      }
      *reinterpret_cast<float4*>(&made.dt[lane][4 * quad]) = {dt[0], dt[1], dt[2], dt[3]};
      *reinterpret_cast<float4*>(&made.in[lane][4 * quad]) = {in[0], in[1], in[2], in[3]};
    }
    const Piece<T> piece(&from.bc[row()][column()]);
    auto* const bc = reinterpret_cast<float4*>(&made.bc[row()][column()]);
    bc[0] = {piece.v[0], piece.v[1], piece.v[2], piece.v[3]};
    bc[1] = {piece.v[4], piece.v[5], piece.v[6], piece.v[7]};
  }

  // y of a tile, gated, over its x.
  __device__ void Write(int64_t first, const Sent<T>& from, const Made& made) const {
    if (first + row() >= segment.count) return;
    const int64_t at = segment.begin + first + row();
    const Piece<T> x(&from.x[row()][column()]), z(&from.z[row()][column()]);
    float y[kPieces], gated[kPieces];
#pragma unroll
    for (int i = 0; i < kPieces; ++i) {
      y[i] = fmaf(task.d[channel + column() + i], x.v[i], made.y[row()][column() + i]);
      gated[i] = y[i] * FastSilu(z.v[i]);
    }
    T* const out = task.rows.conv + at * task.inner + channel + column();
    StoreWhole(out, uint4{Pack<T>(gated[0], gated[1]), Pack<T>(gated[2], gated[3]),
                          Pack<T>(gated[4], gated[5]), Pack<T>(gated[6], gated[7])});
    if (task.y == nullptr) return;
#pragma unroll
    for (int i = 0; i < kPieces; ++i) {
      task.y[at * task.y_stride + channel + column() + i] = y[i];
    }
  }
};

// Lane l % 4 of four gets the sum of all four's part[l % 4], in one order for all.
__device__ inline float SumOfFour(const float (&part)[4]) {
  const bool high = (threadIdx.x & 2) != 0, odd = (threadIdx.x & 1) != 0;
  float first = high ? part[2] : part[0], second = high ? part[3] : part[1];
  first += __shfl_xor_sync(~0u, high ? part[0] : part[2], 2);
  second += __shfl_xor_sync(~0u, high ? part[1] : part[3], 2);
  const float got = __shfl_xor_sync(~0u, odd ? first : second, 1);
  return (odd ? second : first) + got;
}

__device__ inline float4 LoadQuad(const float* from) {
  return *reinterpret_cast<const float4*>(from);
}

// Four rows of the lane's channel; leaves y without the skip.
__device__ inline void ReadQuad(int quad, int at, const float (&log2_decay)[kCells],
                                float (&cells)[kCells], Made& made) {
  const int lane = threadIdx.x % kLanes;
  const float4 dt4 = LoadQuad(&made.dt[at][4 * quad]);
  const float4 in4 = LoadQuad(&made.in[at][4 * quad]);
  const float dt[4] = {dt4.x, dt4.y, dt4.z, dt4.w};
  const float in[4] = {in4.x, in4.y, in4.z, in4.w};
  float part[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float4 b4 = LoadQuad(&made.bc[4 * quad + i][kCells * lane]);
    const float4 c4 = LoadQuad(&made.bc[4 * quad + i][kMamba1State + kCells * lane]);
    const float b[kCells] = {b4.x, b4.y, b4.z, b4.w};
    const float c[kCells] = {c4.x, c4.y, c4.z, c4.w};
#pragma unroll
    for (int n = 0; n < kCells; ++n) {
      const float decay = Exp2(__fmul_rn(dt[i], log2_decay[n]));
      cells[n] = fmaf(decay, cells[n], __fmul_rn(b[n], in[i]));
      part[i] = n == 0 ? __fmul_rn(c[n], cells[n]) : fmaf(c[n], cells[n], part[i]);
    }
  }
  made.y[4 * quad + lane][at] = SumOfFour(part);
}

template <class T>
__global__ void __launch_bounds__(kThreads, 6) ScanKernel(Task<T> task) {
  __shared__ __align__(16) Sent<T> sent[2];
  __shared__ __align__(16) Made made;
  const int blocks = task.inner / kChannels;
  const int64_t s = blockIdx.x / blocks;
  const Block<T> block{task, task.segments[s], static_cast<int>(blockIdx.x) % blocks * kChannels};
  const int64_t count = block.segment.count;
  if (count == 0) return;
  block.Send(0, sent[0]);
  const int at = threadIdx.x / kLanes;
  const int64_t place = int64_t{threadIdx.x % kLanes} * kCells * task.inner + block.channel + at;
  float* const state = task.states + task.slots[s] * task.state_stride + place;
  float cells[kCells], log2_decay[kCells];
#pragma unroll
  for (int n = 0; n < kCells; ++n) {
    cells[n] = state[int64_t{n} * task.inner];
    log2_decay[n] = __fmul_rn(task.a[place + int64_t{n} * task.inner], kLog2E);
  }
  const float bias = task.dt_bias[block.channel + threadIdx.x % 32];
  AwaitCopies<0>();
  __syncthreads();
  int now = 0;
  int64_t first = 0;
  for (; first < count; first += kTile, now ^= 1) {
    if (first > 0) block.Write(first - kTile, sent[now ^ 1], made);
    block.Prepare(first, bias, sent[now], made);
    __syncthreads();
    if (first + kTile < count) block.Send(first + kTile, sent[now ^ 1]);
    const int quads = static_cast<int>(min(count - first + 3, int64_t{kTile})) / 4;
#pragma unroll 2
    for (int quad = 0; quad < quads; ++quad) ReadQuad(quad, at, log2_decay, cells, made);
    AwaitCopies<0>();
    __syncthreads();
  }
  block.Write(first - kTile, sent[now ^ 1], made);
#pragma unroll
  for (int n = 0; n < kCells; ++n) state[int64_t{n} * task.inner] = cells[n];
}

}  // namespace

template <class T>
void Mamba1Scan(const Exec& exec, const Mamba1MixerArgs& args, const Mamba1Rows<T>& rows) {
  const SelectiveScanArgs& scan = args.scan;
  const Task<T> task{.rows = rows,
                     .dt_bias = scan.dt_bias.data,
                     .a = scan.a.data,
                     .d = scan.d.data,
                     .y = args.kept_y.data,
                     .y_stride = args.kept_y.stride,
                     .segments = Place(exec, scan.segments),
                     .slots = Place(exec, scan.states.slots),
                     .states = scan.states.base,
                     .state_stride = scan.states.stride,
                     .inner = static_cast<int>(scan.d_inner)};
  const auto segments = static_cast<int64_t>(scan.segments.size());
  Launch(exec, ScanKernel<T>, static_cast<unsigned>(segments * scan.d_inner / kChannels), kThreads,
         0, task);
}

template void Mamba1Scan(const Exec&, const Mamba1MixerArgs&, const Mamba1Rows<__nv_bfloat16>&);
template void Mamba1Scan(const Exec&, const Mamba1MixerArgs&, const Mamba1Rows<__half>&);

}  // namespace pith::cuda
