#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/causal_conv1d.cc"
#include <hwy/foreach_target.h>
// Highway wants its headers after foreach_target.h.
#include <cstring>

#include "backends/cpu/kernels.h"
#include "backends/cpu/math-inl.h"
#include "core/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace pith::cpu::HWY_NAMESPACE {

constexpr int64_t kBlockChannels = 256;
constexpr int64_t kMaxTaps = 8;
constexpr int64_t kRowsTogether = 4;  // which share what is loaded of the weights

// The inputs before the row that would follow the segment's last, from the old ones and x.
void ShiftState(const CausalConv1dArgs& args, Segment segment, int64_t c0, int64_t channels,
                float* state) {
  const int64_t past = args.d_conv - 1;
  for (int64_t k = 0; k < past; ++k) {
    const int64_t row = segment.count - past + k;  // its place among the segment's rows
    const float* from =
        row < 0 ? state + (past + row) * args.x.cols + c0 : args.x.Row(segment.begin + row) + c0;
    std::memmove(state + k * args.x.cols + c0, from, channels * sizeof(float));
  }
}

using Weights = float[kMaxTaps][kBlockChannels];

// Rows [t, t + kRows) of the segment.
template <int kRows>
void ConvRows(const CausalConv1dArgs& args, Segment segment, const float* state,
              const Weights& weights, int64_t c0, int64_t channels, int64_t t) {
  const int64_t past = args.d_conv - 1;
  const float* in[kRows + kMaxTaps];
  for (int64_t k = 0; k < kRows + past; ++k) {
    const int64_t row = t - past + k;
    in[k] = (row < 0 ? state + (past + row) * args.x.cols : args.x.Row(segment.begin + row)) + c0;
  }
  float* const out = args.out.Row(segment.begin + t) + c0;
  ForVectors(channels, [&](auto d, int64_t i) HWY_ATTR {
    const auto bias = args.bias.data ? hn::LoadU(d, args.bias.data + c0 + i) : hn::Zero(d);
    hn::Vec<decltype(d)> sums[kRows];
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) sums[r] = bias;
    for (int64_t k = 0; k < args.d_conv; ++k) {
      const auto weight = hn::LoadU(d, weights[k] + i);
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
        sums[r] = hn::MulAdd(weight, hn::LoadU(d, in[r + k] + i), sums[r]);
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) hn::StoreU(Silu(d, sums[r]), d, out + r * args.out.stride + i);
  });
}

void ConvBlock(const CausalConv1dArgs& args, Segment segment, int64_t c0, float* state) {
  const int64_t channels = std::min(kBlockChannels, args.x.cols - c0);
  HWY_ALIGN Weights weights;
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t k = 0; k < args.d_conv; ++k) {
      weights[k][c] = args.weight.data[(c0 + c) * args.d_conv + k];
    }
  }
  int64_t t = 0;
  for (; t + kRowsTogether <= segment.count; t += kRowsTogether) {
    ConvRows<kRowsTogether>(args, segment, state, weights, c0, channels, t);
  }
  for (; t < segment.count; ++t) {
    ConvRows<1>(args, segment, state, weights, c0, channels, t);
  }
  ShiftState(args, segment, c0, channels, state);
}

void RunCausalConv1d(const Exec& exec, const CausalConv1dArgs& args) {
  const int64_t blocks = CeilDiv(args.x.cols, kBlockChannels);
  const int threads = ThreadsFor(exec, args.x.rows * args.x.cols);
  ParallelFor(threads, blocks * args.segments.size(), [&](int64_t i) {
    ConvBlock(args, args.segments[i / blocks], i % blocks * kBlockChannels,
              args.states[i / blocks]);
  });
}

}  // namespace pith::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pith::cpu {

HWY_EXPORT(RunCausalConv1d);

void CausalConv1d(const Exec& exec, const CausalConv1dArgs& args) {
  HWY_DYNAMIC_DISPATCH(RunCausalConv1d)(exec, args);
}

}  // namespace pith::cpu
#endif
