// Mamba-1 between its projections for one row a sequence. Weights and states are on their way
// before the launch in front has ended: no launch that may still run writes them.
#include "backends/cuda/launch.cuh"
#include "backends/cuda/mamba1_scan.cuh"
#include "backends/cuda/tensor_core.cuh"

namespace pith::cuda {
namespace {

constexpr int kConvThreads = kMamba1Channels;
constexpr int kPast = kMamba1Taps - 1;

struct ConvTask {
  const float* proj;
  int64_t stride;
  const float* weight;
  const float* bias;  // or null
  const Segment* segments;
  const int32_t* slots;
  float* states;
  int64_t state_stride;
  int channels;
};

template <class T>
__global__ void __launch_bounds__(kConvThreads) StepConv(ConvTask task, T* out) {
  LetNextBegin();
  const int channel = blockIdx.x * kConvThreads + threadIdx.x;
  const int64_t at = task.segments[blockIdx.y].begin;
  float* const state = task.states + task.slots[blockIdx.y] * task.state_stride + channel;
  float past[kPast];
  float sum = task.bias != nullptr ? task.bias[channel] : 0.0f;
  const float* const weight = task.weight + int64_t{channel} * kMamba1Taps;
#pragma unroll
  for (int k = 0; k < kPast; ++k) {
    past[k] = state[int64_t{k} * task.channels];
    sum = fmaf(weight[k], past[k], sum);
  }
  AwaitPrevious();
  const float input = task.proj[at * task.stride + channel];
  out[at * task.channels + channel] = T(Silu(fmaf(weight[kPast], input, sum)));
#pragma unroll
  for (int k = 0; k < kPast; ++k) {
    state[int64_t{k} * task.channels] = k + 1 < kPast ? past[k + 1] : input;
  }
}

constexpr int kChannels = 32;  // of a block
constexpr int kWarps = 8;
constexpr int kThreads = 32 * kWarps;
constexpr int kDots = kChannels / kWarps;      // channels whose Δ a warp makes
constexpr int kCells = kMamba1State / kWarps;  // states that a thread has
constexpr int kColumns = 8;                    // of dt_proj that a lane reads of each
static_assert(kMamba1Rank == 32 * kColumns);

template <class T>
struct StepTask {
  const float* bcdt;  // [rows, rank + 2 d_state]
  int64_t bcdt_stride;
  const T* conv;   // [rows, d_inner]
  const float* z;  // [rows, z_stride]
  int64_t z_stride;
  const T* dt_proj;  // [d_inner, rank]
  const float* dt_bias;
  const float* a;
  const float* d;
  const Segment* segments;
  const int32_t* slots;
  float* states;
  int64_t state_stride;
  T* gated;
  int inner;
  int rank;
};

template <class T>
__device__ float Dot(const uint4& w, const float4& low, const float4& high) {
  const float2 a = Unpack<T>(w.x), b = Unpack<T>(w.y), c = Unpack<T>(w.z), d = Unpack<T>(w.w);
  float sum = __fmul_rn(a.x, low.x);
  sum = fmaf(a.y, low.y, sum);
  sum = fmaf(b.x, low.z, sum);
  sum = fmaf(b.y, low.w, sum);
  sum = fmaf(c.x, high.x, sum);
  sum = fmaf(c.y, high.y, sum);
  sum = fmaf(d.x, high.z, sum);
  return fmaf(d.y, high.w, sum);
}

// Warps: first kDots channels each, whose Δ the lanes sum; then kCells states each, of all
// channels, a lane each.
template <class T>
__global__ void __launch_bounds__(kThreads) StepScan(StepTask<T> task) {
  __shared__ float steps[kChannels];
  __shared__ float parts[kWarps][kChannels];
  LetNextBegin();
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int first = blockIdx.x * kChannels;
  const int channel = first + lane;
  const int64_t at = task.segments[blockIdx.y].begin;
  const int64_t place = int64_t{warp} * kCells * task.inner + channel;
  float* const state = task.states + task.slots[blockIdx.y] * task.state_stride + place;
  const bool has_columns = lane * kColumns < task.rank;
  uint4 weight[kDots] = {};
  float cells[kCells], a[kCells];
#pragma unroll
  for (int i = 0; i < kDots; ++i) {
    const int64_t row = first + warp * kDots + i;
    if (!has_columns) continue;
    weight[i] = *reinterpret_cast<const uint4*>(task.dt_proj + row * task.rank + lane * kColumns);
  }
#pragma unroll
  for (int n = 0; n < kCells; ++n) {
    cells[n] = state[int64_t{n} * task.inner];
    a[n] = task.a[place + int64_t{n} * task.inner];
  }
  const float bias = task.dt_bias[channel], skip = task.d[channel];
  AwaitPrevious();
  const float* const bcdt = task.bcdt + at * task.bcdt_stride;
  float4 low{0, 0, 0, 0}, high = low;
  if (has_columns) {
    low = reinterpret_cast<const float4*>(bcdt)[2 * lane];
    high = reinterpret_cast<const float4*>(bcdt)[2 * lane + 1];
  }
  const float x = static_cast<float>(task.conv[at * task.inner + channel]);
  const float z = task.z[at * task.z_stride + channel];
  float b[kCells], c[kCells];
#pragma unroll
  for (int n = 0; n < kCells; ++n) {
    b[n] = bcdt[task.rank + warp * kCells + n];
    c[n] = bcdt[task.rank + kMamba1State + warp * kCells + n];
  }
#pragma unroll
  for (int i = 0; i < kDots; ++i) {
    const float sum = WarpSum(Dot<T>(weight[i], low, high));
    if (lane == 0) steps[warp * kDots + i] = sum;
  }
  __syncthreads();
  const float dt = Softplus(steps[lane] + bias);
  const float in = dt * x;
  float part = 0;
#pragma unroll
  for (int n = 0; n < kCells; ++n) {
    cells[n] = fmaf(expf(dt * a[n]), cells[n], b[n] * in);
    part = fmaf(c[n], cells[n], part);
    state[int64_t{n} * task.inner] = cells[n];
  }
  parts[warp][lane] = part;
  __syncthreads();
  if (warp != 0) return;
  float y = skip * x;
  for (int w = 0; w < kWarps; ++w) y += parts[w][lane];
  task.gated[at * task.inner + channel] = T(y * Silu(z));
}

}  // namespace

template <class T>
void Mamba1StepConv(const Exec& exec, const Mamba1MixerArgs& args, T* conv) {
  const ConvTask task{.proj = args.step_proj.data,
                      .stride = args.step_proj.stride,
                      .weight = args.conv.weight.data,
                      .bias = args.conv.bias.empty() ? nullptr : args.conv.bias.data,
                      .segments = Place(exec, args.conv.segments),
                      .slots = Place(exec, args.conv.states.slots),
                      .states = args.conv.states.base,
                      .state_stride = args.conv.states.stride,
                      .channels = static_cast<int>(args.scan.d_inner)};
  const dim3 grid(Blocks(task.channels, kConvThreads),
                  static_cast<unsigned>(args.conv.segments.size()));
  LaunchEarly(exec, StepConv<T>, grid, kConvThreads, 0, task, conv);
}

template <class T>
void Mamba1Step(const Exec& exec, const Mamba1MixerArgs& args, const T* conv, T* gated) {
  const SelectiveScanArgs& scan = args.scan;
  const WeightView& w = args.dt_proj;
  const StepTask<T> task{.bcdt = args.kept_bcdt.data,
                         .bcdt_stride = args.kept_bcdt.stride,
                         .conv = conv,
                         .z = args.step_proj.data + scan.d_inner,
                         .z_stride = args.step_proj.stride,
                         .dt_proj = static_cast<const T*>(w.data) + w.first * w.cols,
                         .dt_bias = scan.dt_bias.data,
                         .a = scan.a.data,
                         .d = scan.d.data,
                         .segments = Place(exec, scan.segments),
                         .slots = Place(exec, scan.states.slots),
                         .states = scan.states.base,
                         .state_stride = scan.states.stride,
                         .gated = gated,
                         .inner = static_cast<int>(scan.d_inner),
                         .rank = static_cast<int>(w.cols)};
  const dim3 grid(Blocks(scan.d_inner, kChannels), static_cast<unsigned>(scan.segments.size()));
  LaunchEarly(exec, StepScan<T>, grid, kThreads, 0, task);
}

#define PITH_INSTANTIATE(T)                                              \
  template void Mamba1StepConv(const Exec&, const Mamba1MixerArgs&, T*); \
  template void Mamba1Step(const Exec&, const Mamba1MixerArgs&, const T*, T*);
PITH_INSTANTIATE(__nv_bfloat16)
PITH_INSTANTIATE(__half)
#undef PITH_INSTANTIATE

}  // namespace pith::cuda
