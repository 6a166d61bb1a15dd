// CausalConv1d: a thread has one channel of a tile of rows, whose inputs it holds in registers.
//
// Only a segment's first tile reads the state, since a tile is longer than the state; its threads
// also leave the new state behind, after they have read the old one.
#include "backends/cuda/kernels.h"
#include "backends/cuda/launch.cuh"

namespace pith::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kTile = 16;  // rows
constexpr int kMostTaps = 8;
static_assert(kTile >= kMostTaps);

struct ConvView {
  Rows<const float> x;
  Rows<float> out;
  const float* weight;
  const float* bias;
  const Segment* segments;
  const int32_t* slots;
  float* states;
  int64_t state_stride;
  int64_t channels;
  int64_t tiles;  // of the longest segment
};

// The inputs before the row that would follow the segment's last. Reads of the old state precede
// writes over it, because its inputs only move to the front.
template <int kPast>
__device__ void ShiftState(const ConvView& args, const Segment& segment, int64_t channel,
                           float* state) {
#pragma unroll
  for (int k = 0; k < kPast; ++k) {
    const int64_t row = segment.count - kPast + k;
    state[k * args.channels] =
        row < 0 ? state[(kPast + row) * args.channels] : args.x[segment.begin + row][channel];
  }
}

template <int kTaps>
__global__ void __launch_bounds__(kThreads) ConvKernel(ConvView args) {
  constexpr int kPast = kTaps - 1;
  const int64_t s = blockIdx.x / args.tiles;
  const int64_t first = blockIdx.x % args.tiles * kTile;
  const int64_t channel = blockIdx.y * static_cast<int64_t>(kThreads) + threadIdx.x;
  const Segment segment = args.segments[s];
  if (first >= segment.count || channel >= args.channels) return;
  float* const state = args.states + args.slots[s] * args.state_stride + channel;
  float inputs[kPast + kTile];
#pragma unroll
  for (int i = 0; i < kPast + kTile; ++i) {
    const int64_t row = first - kPast + i;
    inputs[i] = 0;
    if (row < 0) {
      inputs[i] = state[(kPast + row) * args.channels];
    } else if (row < segment.count) {
      inputs[i] = args.x[segment.begin + row][channel];
    }
  }
  float weight[kTaps];
#pragma unroll
  for (int k = 0; k < kTaps; ++k) weight[k] = args.weight[channel * kTaps + k];
  const float bias = args.bias != nullptr ? args.bias[channel] : 0.0f;
#pragma unroll
  for (int t = 0; t < kTile; ++t) {
    if (first + t >= segment.count) break;
    float sum = bias;
#pragma unroll
    for (int k = 0; k < kTaps; ++k) sum = fmaf(weight[k], inputs[t + k], sum);
    args.out[segment.begin + first + t][channel] = Silu(sum);
  }
  if (first == 0) ShiftState<kPast>(args, segment, channel, state);
}

using Kernel = void (*)(ConvView);
constexpr Kernel kKernels[kMostTaps] = {ConvKernel<1>, ConvKernel<2>, ConvKernel<3>, ConvKernel<4>,
                                        ConvKernel<5>, ConvKernel<6>, ConvKernel<7>, ConvKernel<8>};

}  // namespace

void CausalConv1d(const Exec& exec, const CausalConv1dArgs& args) {
  int64_t longest = 0;
  for (const Segment& segment : args.segments) longest = std::max(longest, segment.count);
  const int64_t tiles = Blocks(longest, kTile);
  if (args.out.empty() || tiles == 0) return;
  const ConvView view = {.x = args.x,
                         .out = args.out,
                         .weight = args.weight.data,
                         .bias = args.bias.empty() ? nullptr : args.bias.data,
                         .segments = Place(exec, args.segments),
                         .slots = Place(exec, args.states.slots),
                         .states = args.states.base,
                         .state_stride = args.states.stride,
                         .channels = args.x.cols,
                         .tiles = tiles};
  const dim3 grid(static_cast<unsigned>(tiles * args.segments.size()),
                  Blocks(view.channels, kThreads));
  Launch(exec, kKernels[args.d_conv - 1], grid, kThreads, 0, view);
}

}  // namespace pith::cuda
