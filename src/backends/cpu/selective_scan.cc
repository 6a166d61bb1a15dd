#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/selective_scan.cc"
#include <hwy/foreach_target.h>
// Highway wants its headers after foreach_target.h.
#include <cstring>

#include "backends/cpu/kernels.h"
#include "backends/cpu/math-inl.h"
#include "core/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace pith::cpu::HWY_NAMESPACE {

// Channels of one task. Its part of the state and of A lies in contiguous scratch, 8 kB together at
// 16 states: in place, their rows are d_inner floats apart and evict each other from L1.
constexpr int64_t kBlockChannels = 64;

struct Block {
  int64_t first;  // channel
  int64_t channels;
  float* state;       // [d_state, kBlockChannels]
  float* log2_decay;  // [d_state, kBlockChannels]: A / ln 2
  float* dt;          // [kBlockChannels]: a row's Δ
};

// Δ of a row. It is made for all channels before any is scanned: a softplus has a long chain of
// operations, and only another vector's can fill the time that it waits.
HWY_INLINE void StepSizes(const SelectiveScanArgs& args, int64_t row, const Block& block) {
  const float* const dt = args.dt.Row(row) + block.first;
  const float* const bias = args.dt_bias.data + block.first;
  ForVectors(block.channels, [&](auto d, int64_t i) HWY_ATTR {
    hn::StoreU(Softplus(d, hn::Add(hn::LoadU(d, dt + i), hn::LoadU(d, bias + i))), d, block.dt + i);
  });
}

// One row of one vector of channels, `at` of the block. `kOutput`: y is wanted.
template <bool kOutput, class Tag>
HWY_INLINE void ScanVector(Tag d, const SelectiveScanArgs& args, int64_t row, const Block& block,
                           int64_t at) {
  const int64_t c = block.first + at;
  const auto x = hn::LoadU(d, args.x.Row(row) + c);
  const auto dt = hn::LoadU(d, block.dt + at);
  const auto dt_x = hn::Mul(dt, x);
  const float* b_row = args.b.Row(row);
  const float* c_row = kOutput ? args.c.Row(row) : nullptr;
  float* cell = block.state + at;
  const float* log2_decay = block.log2_decay + at;
  auto y = kOutput ? hn::Mul(hn::LoadU(d, args.d.data + c), x) : hn::Zero(d);
  const int64_t d_state = args.d_state;
#pragma GCC unroll 4
  for (int64_t n = 0; n < d_state; ++n) {
    const auto decay = FastExp2OfNegative(d, hn::Mul(dt, hn::LoadU(d, log2_decay)));
    const auto in = hn::Mul(dt_x, hn::Set(d, b_row[n]));
    const auto next = hn::MulAdd(decay, hn::LoadU(d, cell), in);
    hn::StoreU(next, d, cell);
    if constexpr (kOutput) y = hn::MulAdd(hn::Set(d, c_row[n]), next, y);
    cell += kBlockChannels;
    log2_decay += kBlockChannels;
  }
  if constexpr (kOutput) hn::StoreU(y, d, args.y.Row(row) + c);
}

template <bool kOutput>
void ScanBlock(const SelectiveScanArgs& args, Segment segment, float* state, int64_t first) {
  thread_local BufferOwner<float> scratch;
  scratch.Resize((2 * args.d_state + 1) * kBlockChannels);
  const Block block = {first, std::min(kBlockChannels, args.d_inner - first), scratch.data(),
                       scratch.data() + args.d_state * kBlockChannels,
                       scratch.data() + 2 * args.d_state * kBlockChannels};
  const size_t bytes = block.channels * sizeof(float);
  for (int64_t n = 0; n < args.d_state; ++n) {
    const int64_t from = n * args.d_inner + first;
    const int64_t to = n * kBlockChannels;
    std::memcpy(block.state + to, state + from, bytes);
    ForVectors(block.channels, [&](auto d, int64_t i) HWY_ATTR {
      const auto a = hn::LoadU(d, args.a.data + from + i);
      hn::StoreU(hn::Mul(a, hn::Set(d, 1.44269504f)), d, block.log2_decay + to + i);
    });
  }
  for (int64_t t = segment.begin; t < segment.begin + segment.count; ++t) {
    StepSizes(args, t, block);
    ForVectors(block.channels,
               [&](auto d, int64_t i) HWY_ATTR { ScanVector<kOutput>(d, args, t, block, i); });
  }
  for (int64_t n = 0; n < args.d_state; ++n) {
    std::memcpy(state + n * args.d_inner + first, block.state + n * kBlockChannels, bytes);
  }
}

void RunSelectiveScan(const Exec& exec, const SelectiveScanArgs& args) {
  const int64_t blocks = CeilDiv(args.d_inner, kBlockChannels);
  // Few rows are bound by the state and by A, of which each segment reads its own copy.
  const int64_t floats = 3 * std::ssize(args.segments) * args.d_inner * args.d_state;
  const int threads = std::max(ThreadsFor(exec, args.x.rows * args.d_inner * args.d_state),
                               ThreadsForBytes(exec, floats * static_cast<int64_t>(sizeof(float))));
  ParallelFor(threads, blocks * args.segments.size(), [&](int64_t i) {
    const auto scan = args.y.empty() ? ScanBlock<false> : ScanBlock<true>;
    scan(args, args.segments[i / blocks], args.states[i / blocks], i % blocks * kBlockChannels);
  });
}

}  // namespace pith::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pith::cpu {

HWY_EXPORT(RunSelectiveScan);

void SelectiveScan(const Exec& exec, const SelectiveScanArgs& args) {
  HWY_DYNAMIC_DISPATCH(RunSelectiveScan)(exec, args);
}

}  // namespace pith::cpu
#endif
