// Mamba-1's convolution on rows in 16 bits: a thread has two channels of a tile of rows, whose
// inputs it holds in registers. Only a segment's first tile reads the state, since a tile is longer
// than the state; its threads also leave the new state behind, after they have read the old one.
#include <algorithm>

#include "backends/cuda/launch.cuh"
#include "backends/cuda/mamba1_scan.cuh"
#include "backends/cuda/tensor_core.cuh"

namespace pith::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kTile = 16;  // rows
constexpr int kPast = kMamba1Taps - 1;
static_assert(kTile >= kPast);

template <class T>
struct Task {
  const T* proj;
  T* out;
  const float* weight;
  const float* bias;  // or null
  const Segment* segments;
  const int32_t* slots;
  float* states;
  int64_t state_stride;
  int channels;
  int64_t tiles;  // of the longest segment

  __device__ float2 Input(int64_t row, int channel) const {
    return Unpack<T>(*reinterpret_cast<const uint32_t*>(proj + row * 2 * channels + channel));
  }
};

// The inputs before the row that would follow the segment's last. Reads of the old state precede
// writes over it, because its inputs only move to the front.
template <class T>
__device__ void ShiftState(const Task<T>& task, const Segment& segment, int channel,
                           float2* state) {
#pragma unroll
  for (int k = 0; k < kPast; ++k) {
    const int64_t row = segment.count - kPast + k;
    state[k * task.channels / 2] = row < 0 ? state[(kPast + row) * task.channels / 2]
                                           : task.Input(segment.begin + row, channel);
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads) ConvKernel(Task<T> task) {
  const int64_t s = blockIdx.x / task.tiles;
  const int64_t first = blockIdx.x % task.tiles * kTile;
  const int channel = 2 * (blockIdx.y * kThreads + threadIdx.x);
  const Segment segment = task.segments[s];
  if (first >= segment.count || channel >= task.channels) return;
  auto* const state =
      reinterpret_cast<float2*>(task.states + task.slots[s] * task.state_stride + channel);
  float2 inputs[kPast + kTile];
#pragma unroll
  for (int i = 0; i < kPast + kTile; ++i) {
    const int64_t row = first - kPast + i;
    inputs[i] = {0, 0};
    if (row < 0) {
      inputs[i] = state[(kPast + row) * task.channels / 2];
    } else if (row < segment.count) {
      inputs[i] = task.Input(segment.begin + row, channel);
    }
  }
  static_assert(kMamba1Taps == 4);
  const float4 left = *reinterpret_cast<const float4*>(task.weight + channel * kMamba1Taps);
  const float4 right = *reinterpret_cast<const float4*>(task.weight + (channel + 1) * kMamba1Taps);
  const float2 weight[] = {
      {left.x, right.x}, {left.y, right.y}, {left.z, right.z}, {left.w, right.w}};
  float2 bias{0, 0};
  if (task.bias != nullptr) bias = {task.bias[channel], task.bias[channel + 1]};
#pragma unroll
  for (int t = 0; t < kTile; ++t) {
    if (first + t >= segment.count) break;
    float2 sum = bias;
#pragma unroll
    for (int k = 0; k < kMamba1Taps; ++k) {
      sum = {fmaf(weight[k].x, inputs[t + k].x, sum.x), fmaf(weight[k].y, inputs[t + k].y, sum.y)};
    }
    *reinterpret_cast<uint32_t*>(task.out + (segment.begin + first + t) * task.channels + channel) =
        Pack<T>(__fdividef(sum.x, 1 + __expf(-sum.x)), __fdividef(sum.y, 1 + __expf(-sum.y)));
  }
  if (first == 0) ShiftState(task, segment, channel, state);
}

}  // namespace

template <class T>
void Mamba1Conv(const Exec& exec, const CausalConv1dArgs& args, const Mamba1Rows<T>& rows) {
  int64_t longest = 0;
  for (const Segment& segment : args.segments) longest = std::max(longest, segment.count);
  const int64_t tiles = Blocks(longest, kTile);
  if (tiles == 0) return;
  const int64_t channels = args.weight.size / kMamba1Taps;
  const Task<T> task{.proj = rows.proj,
                     .out = rows.conv,
                     .weight = args.weight.data,
                     .bias = args.bias.empty() ? nullptr : args.bias.data,
                     .segments = Place(exec, args.segments),
                     .slots = Place(exec, args.states.slots),
                     .states = args.states.base,
                     .state_stride = args.states.stride,
                     .channels = static_cast<int>(channels),
                     .tiles = tiles};
  const dim3 grid(static_cast<unsigned>(tiles * args.segments.size()),
                  Blocks(channels, 2 * kThreads));
  Launch(exec, ConvKernel<T>, grid, kThreads, 0, task);
}

template void Mamba1Conv(const Exec&, const CausalConv1dArgs&, const Mamba1Rows<__nv_bfloat16>&);
template void Mamba1Conv(const Exec&, const CausalConv1dArgs&, const Mamba1Rows<__half>&);

}  // namespace pith::cuda
