// A block takes one head of one sequence. What it costs is reading and writing the head's state
// once; the state is on its way before the launch that makes proj has ended.
#include <algorithm>

#include "backends/cuda/launch.cuh"
#include "backends/cuda/mamba2_scan.cuh"
#include "backends/cuda/mamba2_step.cuh"
#include "backends/cuda/tensor_core.cuh"

namespace pith::cuda {
namespace {

constexpr int kThreads = 2 * kScanState;  // half of them convolve a channel of B and one of C
constexpr int kPast = kScanTaps - 1;
constexpr int kMover = kThreads / 32 - 1;  // the warp that moves B's and C's inputs on

// A thread's 16 bytes of a row of the state, in S.
template <class S>
struct Piece {
  static constexpr int kCount = 16 / sizeof(S);
  static constexpr int kLanes = kScanHead / kCount;  // threads that share a row
  static constexpr int kSide = kThreads / kLanes;    // rows that are read side by side
  static constexpr int kDepth = kScanState / kSide;  // rows that a thread has

  __device__ static void Widen(const uint4& raw, float (&v)[kCount]) {
    const uint32_t words[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if constexpr (sizeof(S) == 4) {
        v[i] = __uint_as_float(words[i]);
      } else {
        const float2 pair = Unpack<S>(words[i]);
        v[2 * i] = pair.x;
        v[2 * i + 1] = pair.y;
      }
    }
  }
  __device__ static uint4 Round(const float (&v)[kCount]) {
    if constexpr (sizeof(S) == 4) {
      return {__float_as_uint(v[0]), __float_as_uint(v[1]), __float_as_uint(v[2]),
              __float_as_uint(v[3])};
    } else {
      return {Pack<S>(v[0], v[1]), Pack<S>(v[2], v[3]), Pack<S>(v[4], v[5]), Pack<S>(v[6], v[7])};
    }
  }
};

template <class T, class S>
struct Task {
  using Gated = T;
  const float* proj;
  int64_t stride;
  T* gated;
  float* squares;
  const float* conv_weight;
  const float* conv_bias;
  float* conv_states;
  int64_t conv_stride;
  S* states;
  int64_t state_stride;  // in S
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
  unsigned* tickets;  // [segments, groups], zero

  __device__ int inner() const { return heads * kScanHead; }
  __device__ int channels() const { return inner() + 2 * groups * kScanState; }
};

// What the convolution of a channel takes beside its new input, which may be read before that is
// there: no launch that may still run writes this layer's states.
struct Channel {
  float past[kPast];
  float sum;     // of the past inputs, with the bias
  float weight;  // of the new one
  int c;

  template <class Task>
  __device__ Channel(const Task& task, const float* states, int c) : c(c) {
    sum = task.conv_bias != nullptr ? task.conv_bias[c] : 0;
    const float* const weights = task.conv_weight + int64_t{c} * kScanTaps;
#pragma unroll
    for (int k = 0; k < kPast; ++k) {
      past[k] = states[int64_t{k} * task.channels() + c];
      sum = fmaf(weights[k], past[k], sum);
    }
    weight = weights[kPast];
  }
  __device__ float Convolve(float input) const {
    const float v = fmaf(weight, input, sum);
    return v * Sigmoid(v);
  }
  // The inputs before the next row.
  __device__ void Shift(float input, float* to, int64_t stride) const {
#pragma unroll
    for (int k = 0; k < kPast; ++k) to[k * stride] = k + 1 < kPast ? past[k + 1] : input;
  }
};

// B and C are read by all heads of a group: the last one to have read them moves them on. By one
// warp, whose ticket comes while the block works on its state.
template <class Task>
__device__ unsigned TakeTicket(const Task& task, int group) {
  unsigned ticket = 0;
  if (threadIdx.x % 32 == 0) {
    asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], 1;"
                 : "=r"(ticket)
                 : "l"(task.tickets + blockIdx.y * task.groups + group)
                 : "memory");
  }
  return ticket;
}
// From shared memory: to read what is there again would be a chain of loads between stores, at the
// end of the launch.
template <class Task>
__device__ void ShiftShared(const Task& task, const float (&shifted)[2][kPast][kScanState],
                            float* states, int group, unsigned ticket) {
  if (__shfl_sync(~0u, ticket, 0) != task.heads / task.groups - 1u) return;
  __syncwarp();
  if (threadIdx.x % 32 == 0) task.tickets[blockIdx.y * task.groups + group] = 0;
  float* const to = states + task.inner() + group * kScanState;
#pragma unroll
  for (int side = 0; side < 2; ++side) {
#pragma unroll
    for (int k = 0; k < kPast; ++k) {
#pragma unroll
      for (int i = threadIdx.x % 32; i < kScanState; i += 32) {
        to[int64_t{k} * task.channels() + side * task.groups * kScanState + i] =
            shifted[side][k][i];
      }
    }
  }
}

// What a thread multiplies one channel of its head with at the end.
struct Output {
  float d;
  float weight;  // of the gated norm

  template <class Task>
  __device__ Output(const Task& task, int head, int p)
      : d(task.d[task.d_has_hdim ? head * kScanHead + p : head]),
        weight(task.norm_weight != nullptr ? task.norm_weight[head * kScanHead + p] : 1.0f) {}

  // By the first kScanHead threads.
  template <class Task>
  __device__ void Finish(const Task& task, int64_t at, int head, float y, float z, int p) const {
    using T = typename Task::Gated;
    __shared__ float parts[2];
    const float silu = z * Sigmoid(z);
    const float v = y * silu;
    const float normed = task.norm_before_gate ? y : v;
    task.gated[at * task.inner() + head * kScanHead + p] = T(v * weight);
    const float square = WarpSum(normed * normed);
    if (p % 32 == 0) parts[p / 32] = square;
    asm volatile("bar.sync 1, 64;" ::: "memory");  // of the 64 threads that are here
    if (p == 0) task.squares[at * task.heads + head] = parts[0] + parts[1];
  }
};

template <class T, class S>
__global__ void __launch_bounds__(kThreads, 4) StepHeads(Task<T, S> task) {
  using P = Piece<S>;
  __shared__ float b[kScanState], c[kScanState];
  __shared__ float shifted[2][kPast][kScanState];  // B's and C's inputs before the next row
  __shared__ __align__(16) float x[kScanHead];
  __shared__ __align__(16) float sums[kThreads / 32][kScanHead];
  const int head = blockIdx.x;
  const int group = head / (task.heads / task.groups);
  const int64_t at = task.segments[blockIdx.y].begin;
  const int64_t slot = task.slots[blockIdx.y];
  const int piece = threadIdx.x % P::kLanes;
  const int first = threadIdx.x / P::kLanes;
  uint4* const stored = reinterpret_cast<uint4*>(task.states + slot * task.state_stride +
                                                 int64_t{head} * kScanState * kScanHead) +
                        piece;
  LetNextBegin();
  float* const past = task.conv_states + slot * task.conv_stride;
  uint4 state[P::kDepth];
#pragma unroll
  for (int i = 0; i < P::kDepth; ++i) state[i] = stored[(first + i * P::kSide) * P::kLanes];
  const bool of_bc = threadIdx.x < kScanState,
             of_x = !of_bc && threadIdx.x < kScanState + kScanHead;
  const int b_channel = task.inner() + group * kScanState + threadIdx.x % kScanState;
  const int p = threadIdx.x % kScanHead;
  const int x_channel = head * kScanHead + p;
  const Channel first_in(task, past, of_bc ? b_channel : x_channel);
  const Channel in_c(task, past, b_channel + task.groups * kScanState);
  const Output output(task, head, p);
  const float dt_bias = task.dt_bias[head], a = task.a[head];
  AwaitPrevious();
  const float* const row = task.proj + at * task.stride;
  const float* const inputs = row + task.inner();
  const float z = row[x_channel];
  const float raw = row[task.inner() + task.channels() + head] + dt_bias;
  const float input = inputs[first_in.c];
  if (of_bc) {
    const float input_c = inputs[in_c.c];
    b[threadIdx.x] = first_in.Convolve(input);
    c[threadIdx.x] = in_c.Convolve(input_c);
    first_in.Shift(input, &shifted[0][0][threadIdx.x], kScanState);
    in_c.Shift(input_c, &shifted[1][0][threadIdx.x], kScanState);
  } else if (of_x) {
    x[p] = first_in.Convolve(input);
    first_in.Shift(input, past + x_channel, task.channels());
  }
  const float dt = Clamp(Softplus(raw), task.dt_min, task.dt_max);
  const float decay = expf(dt * a);
  __syncthreads();
  unsigned ticket = 0;
  if (threadIdx.x / 32 == kMover) ticket = TakeTicket(task, group);
  float sum[P::kCount] = {};
#pragma unroll
  for (int i = 0; i < P::kDepth; ++i) {
    const int n = first + i * P::kSide;
    const float in = dt * b[n];
    float s[P::kCount];
    P::Widen(state[i], s);
#pragma unroll
    for (int j = 0; j < P::kCount; ++j) {
      s[j] = fmaf(decay, s[j], in * x[piece * P::kCount + j]);
      sum[j] = fmaf(c[n], s[j], sum[j]);
    }
    stored[n * P::kLanes] = P::Round(s);
  }
#pragma unroll
  for (int j = 0; j < P::kCount; ++j) {
    for (int offset = 16; offset >= P::kLanes; offset /= 2) {
      sum[j] += __shfl_xor_sync(~0u, sum[j], offset);
    }
    if (threadIdx.x % 32 < P::kLanes) sums[threadIdx.x / 32][piece * P::kCount + j] = sum[j];
  }
  __syncthreads();
  if (threadIdx.x / 32 == kMover) ShiftShared(task, shifted, past, group, ticket);
  if (threadIdx.x >= kScanHead) return;
  float y = output.d * x[p];
  for (int w = 0; w < kThreads / 32; ++w) y += sums[w][p];
  output.Finish(task, at, head, y, z, p);
}

}  // namespace

namespace {

template <class T, class S>
void Run(const Exec& exec, const Mamba2MixerArgs& args, const float* proj, int64_t stride,
         T* gated) {
  const SsdArgs& ssd = args.ssd;
  const auto segments = static_cast<unsigned>(ssd.segments.size());
  const Task<T, S> task{
      .proj = proj,
      .stride = stride,
      .gated = gated,
      .squares = args.squares.data,
      .conv_weight = args.conv.weight.data,
      .conv_bias = args.conv.bias.data,
      .conv_states = args.conv.states.base,
      .conv_stride = args.conv.states.stride,
      .states = reinterpret_cast<S*>(ssd.states.base),
      .state_stride = ssd.states.stride * static_cast<int64_t>(sizeof(float) / sizeof(S)),
      .segments = Place(exec, ssd.segments),
      .slots = Place(exec, ssd.states.slots),
      .dt_bias = ssd.dt_bias.data,
      .a = ssd.a.data,
      .d = ssd.d.data,
      .norm_weight = args.gate.norm_weight.data,
      .dt_min = ssd.dt_min,
      .dt_max = ssd.dt_max,
      .heads = static_cast<int>(ssd.n_heads),
      .groups = static_cast<int>(ssd.n_groups),
      .d_has_hdim = ssd.d_has_hdim,
      .norm_before_gate = args.gate.norm_before_gate,
      .tickets = GpuOf(exec).tickets(ssd.segments.size() * ssd.n_groups)};
  LaunchEarly(exec, StepHeads<T, S>, dim3(task.heads, segments), kThreads, 0, task);
}

}  // namespace

template <class T>
void Mamba2Step(const Exec& exec, const Mamba2MixerArgs& args, const float* proj, int64_t stride,
                T* gated) {
  switch (args.ssd.states.type) {
    case DType::kF32:
      return Run<T, float>(exec, args, proj, stride, gated);
    case DType::kBF16:
      return Run<T, __nv_bfloat16>(exec, args, proj, stride, gated);
    case DType::kF16:
      return Run<T, __half>(exec, args, proj, stride, gated);
    default:
      Throw(ErrorCode::kInternal, "dtype: got ", Name(args.ssd.states.type),
            ", expected f32, f16 or bf16");
  }
}

template void Mamba2Step(const Exec&, const Mamba2MixerArgs&, const float*, int64_t,
                         __nv_bfloat16*);
template void Mamba2Step(const Exec&, const Mamba2MixerArgs&, const float*, int64_t, __half*);

}  // namespace pith::cuda
