// A block takes one head of one sequence. What it costs is reading and writing the head's state
// once; the state is on its way before the launch that makes proj has ended.
#include <algorithm>

#include "backends/cuda/launch.cuh"
#include "backends/cuda/mamba2_scan.cuh"
#include "backends/cuda/mamba2_step.cuh"

namespace pith::cuda {
namespace {

constexpr int kThreads = 2 * kScanState;  // half of them convolve a channel of B and one of C
constexpr int kPast = kScanTaps - 1;
constexpr int kQuads = kScanHead / 4;         // float4s in a row of the state
constexpr int kGroups = kThreads / kQuads;    // rows of the state that are read side by side
constexpr int kDepth = kScanState / kGroups;  // rows that a thread has

template <class T>
struct Task {
  const float* proj;
  int64_t stride;
  T* gated;
  float* squares;
  const float* conv_weight;
  const float* conv_bias;
  float* conv_states;
  int64_t conv_stride;
  float* states;
  int64_t state_stride;
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
  float sum;     // of the past inputs, with the bias
  float weight;  // of the new one
  int c;

  template <class T>
  __device__ Channel(const Task<T>& task, const float* states, int c) : c(c) {
    sum = task.conv_bias != nullptr ? task.conv_bias[c] : 0;
    const float* const weights = task.conv_weight + int64_t{c} * kScanTaps;
    for (int k = 0; k < kPast; ++k) {
      sum = fmaf(weights[k], states[int64_t{k} * task.channels() + c], sum);
    }
    weight = weights[kPast];
  }
  __device__ float Convolve(const float* inputs) const {
    const float v = fmaf(weight, inputs[c], sum);
    return v * Sigmoid(v);
  }
};

// The inputs before the next row.
template <class T>
__device__ void Shift(const Task<T>& task, float* states, const float* row, int c) {
  for (int k = 0; k + 1 < kPast; ++k) {
    states[int64_t{k} * task.channels() + c] = states[int64_t{k + 1} * task.channels() + c];
  }
  states[int64_t{kPast - 1} * task.channels() + c] = row[task.inner() + c];
}

// B and C are read by all heads of a group: the last one to have read them moves them on.
template <class T>
__device__ void ShiftShared(const Task<T>& task, float* states, const float* row, int group) {
  __shared__ bool last;
  const int heads = task.heads / task.groups;
  unsigned* const ticket = task.tickets + blockIdx.y * task.groups + group;
  if (threadIdx.x == 0) {
    __threadfence();
    last = atomicAdd(ticket, 1u) == heads - 1u;
    if (last) *ticket = 0;
  }
  __syncthreads();
  if (!last || threadIdx.x >= kScanState) return;
  __threadfence();
  const int b = task.inner() + group * kScanState + threadIdx.x;
  Shift(task, states, row, b);
  Shift(task, states, row, b + task.groups * kScanState);
}

template <class T>
__device__ void Finish(const Task<T>& task, int64_t at, int head, float y, float z, int p) {
  __shared__ float parts[2];
  const float silu = z * Sigmoid(z);
  const float v = y * silu;
  const float normed = task.norm_before_gate ? y : v;
  const float weight = task.norm_weight != nullptr ? task.norm_weight[head * kScanHead + p] : 1.0f;
  task.gated[at * task.inner() + head * kScanHead + p] = T(v * weight);
  const float square = WarpSum(normed * normed);
  if (p % 32 == 0) parts[p / 32] = square;
  asm volatile("bar.sync 1, 64;" ::: "memory");  // of the 64 threads that are here
  if (p == 0) task.squares[at * task.heads + head] = parts[0] + parts[1];
}

template <class T>
__global__ void __launch_bounds__(kThreads) StepHeads(Task<T> task) {
  __shared__ float b[kScanState], c[kScanState];
  __shared__ __align__(16) float x[kScanHead];
  __shared__ __align__(16) float sums[kThreads / 32][kScanHead];
  const int head = blockIdx.x;
  const int group = head / (task.heads / task.groups);
  const int64_t at = task.segments[blockIdx.y].begin;
  const int64_t slot = task.slots[blockIdx.y];
  const int quad = threadIdx.x % kQuads;
  const int first = threadIdx.x / kQuads;
  float4* const stored = reinterpret_cast<float4*>(task.states + slot * task.state_stride +
                                                   int64_t{head} * kScanState * kScanHead) +
                         quad;
  LetNextBegin();
  float* const past = task.conv_states + slot * task.conv_stride;
  float4 state[kDepth];
#pragma unroll
  for (int i = 0; i < kDepth; ++i) state[i] = stored[(first + i * kGroups) * kQuads];
  const bool of_bc = threadIdx.x < kScanState,
             of_x = !of_bc && threadIdx.x < kScanState + kScanHead;
  const int b_channel = task.inner() + group * kScanState + threadIdx.x % kScanState;
  const int x_channel = head * kScanHead + threadIdx.x % kScanHead;
  const Channel first_in(task, past, of_bc ? b_channel : x_channel);
  const Channel in_c(task, past, b_channel + task.groups * kScanState);
  AwaitPrevious();
  const float* const row = task.proj + at * task.stride;
  const float* const inputs = row + task.inner();
  if (of_bc) {
    b[threadIdx.x] = first_in.Convolve(inputs);
    c[threadIdx.x] = in_c.Convolve(inputs);
  } else if (of_x) {
    x[threadIdx.x % kScanHead] = first_in.Convolve(inputs);
    Shift(task, past, row, x_channel);
  }
  const float raw = row[task.inner() + task.channels() + head] + task.dt_bias[head];
  const float dt = Clamp(Softplus(raw), task.dt_min, task.dt_max);
  const float decay = expf(dt * task.a[head]);
  __syncthreads();
  const float4 write = reinterpret_cast<const float4*>(x)[quad];
  float4 sum{0, 0, 0, 0};
#pragma unroll
  for (int i = 0; i < kDepth; ++i) {
    const int n = first + i * kGroups;
    const float in = dt * b[n];
    float4& s = state[i];
    s = {fmaf(decay, s.x, in * write.x), fmaf(decay, s.y, in * write.y),
         fmaf(decay, s.z, in * write.z), fmaf(decay, s.w, in * write.w)};
    stored[n * kQuads] = s;
    sum = {fmaf(c[n], s.x, sum.x), fmaf(c[n], s.y, sum.y), fmaf(c[n], s.z, sum.z),
           fmaf(c[n], s.w, sum.w)};
  }
  for (float* v : {&sum.x, &sum.y, &sum.z, &sum.w}) *v += __shfl_xor_sync(~0u, *v, kQuads);
  if (threadIdx.x % 32 < kQuads) {
    reinterpret_cast<float4*>(sums[threadIdx.x / 32])[quad] = sum;
  }
  __syncthreads();
  ShiftShared(task, past, row, group);
  if (threadIdx.x >= kScanHead) return;
  const int p = threadIdx.x;
  float y = task.d[task.d_has_hdim ? head * kScanHead + p : head] * x[p];
  for (int w = 0; w < kThreads / 32; ++w) y += sums[w][p];
  Finish(task, at, head, y, row[head * kScanHead + p], p);
}

}  // namespace

template <class T>
void Mamba2Step(const Exec& exec, const Mamba2MixerArgs& args, const float* proj, int64_t stride,
                T* gated) {
  const SsdArgs& ssd = args.ssd;
  const auto segments = static_cast<unsigned>(ssd.segments.size());
  const Task<T> task{.proj = proj,
                     .stride = stride,
                     .gated = gated,
                     .squares = args.squares.data,
                     .conv_weight = args.conv.weight.data,
                     .conv_bias = args.conv.bias.data,
                     .conv_states = args.conv.states.base,
                     .conv_stride = args.conv.states.stride,
                     .states = ssd.states.base,
                     .state_stride = ssd.states.stride,
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
  LaunchEarly(exec, StepHeads<T>, dim3(task.heads, segments), kThreads, 0, task);
}

template void Mamba2Step(const Exec&, const Mamba2MixerArgs&, const float*, int64_t,
                         __nv_bfloat16*);
template void Mamba2Step(const Exec&, const Mamba2MixerArgs&, const float*, int64_t, __half*);

}  // namespace pith::cuda
