// SsdStep: the recurrence, one pass over the state a row.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/ssd_step.cc"
#include <hwy/foreach_target.h>
// Highway wants its headers after foreach_target.h.
#include "backends/cpu/kernels.h"
#include "backends/cpu/math-inl.h"
#include "core/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace pith::cpu::HWY_NAMESPACE {

// One head's step.
struct Head {
  const float* x;     // [head_dim]
  const float* b;     // [d_state]
  const float* c;     // [d_state]
  const float* skip;  // [head_dim], or one for all
  bool skip_each;
  float dt;
  float decay;
  float* state;  // [d_state, head_dim]
  float* y;      // [head_dim]
};

// kVectors vectors of columns from p on, in one pass over their part of the state: with all columns
// at once it is read and written from first to last, where column by column it would pass through
// L1, whose size it has, many times.
template <int kVectors, class Tag>
HWY_INLINE void StepColumns(Tag d, const SsdArgs& args, const Head& head, int64_t p) {
  using Vec = hn::Vec<Tag>;
  constexpr int64_t kWidth = hn::MaxLanes(Tag());
  Vec dt_x[kVectors], sums[kVectors];
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v) {
    const int64_t at = p + v * kWidth;
    const auto in = hn::LoadU(d, head.x + at);
    dt_x[v] = hn::Mul(in, hn::Set(d, head.dt));
    const auto skip = head.skip_each ? hn::LoadU(d, head.skip + at) : hn::Set(d, *head.skip);
    sums[v] = hn::Mul(skip, in);
  }
  const auto decay = hn::Set(d, head.decay);
  for (int64_t n = 0; n < args.d_state; ++n) {
    const auto b = hn::Set(d, head.b[n]);
    const auto c = hn::Set(d, head.c[n]);
    float* const row = head.state + n * args.head_dim + p;
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      float* const cell = row + v * kWidth;
      const auto next = hn::MulAdd(b, dt_x[v], hn::Mul(decay, hn::LoadU(d, cell)));
      hn::StoreU(next, d, cell);
      sums[v] = hn::MulAdd(c, next, sums[v]);
    }
  }
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v) hn::StoreU(sums[v], d, head.y + p + v * kWidth);
}

// state: [d_state, head_dim], this head's.
void StepHead(const SsdArgs& args, int64_t row, int64_t h, float* state) {
  const hn::CappedTag<float, 1> one;
  const int64_t P = args.head_dim;
  const int64_t group = h / (args.n_heads / args.n_groups);
  const float softplus =
      hn::GetLane(Softplus(one, hn::Set(one, args.dt.Row(row)[h] + args.dt_bias.data[h])));
  const float dt = std::clamp(softplus, args.dt_min, args.dt_max);
  const Head head = {.x = args.x.Row(row) + h * P,
                     .b = args.b.Row(row) + group * args.d_state,
                     .c = args.c.Row(row) + group * args.d_state,
                     .skip = args.d.data + (args.d_has_hdim ? h * P : h),
                     .skip_each = args.d_has_hdim,
                     .dt = dt,
                     .decay = hn::GetLane(FastExp(one, hn::Set(one, dt * args.a.data[h]))),
                     .state = state,
                     .y = args.y.Row(row) + h * P};
  int64_t p = 0;
  for (; p + 8 * kLanes <= P; p += 8 * kLanes) StepColumns<8>(D(), args, head, p);
  for (; p + 4 * kLanes <= P; p += 4 * kLanes) StepColumns<4>(D(), args, head, p);
  for (; p + kLanes <= P; p += kLanes) StepColumns<1>(D(), args, head, p);
  for (; p < P; ++p) StepColumns<1>(one, args, head, p);
}

void RunSsdStep(const Exec& exec, const SsdArgs& args) {
  const int64_t size = args.d_state * args.head_dim;
  const int64_t bytes = 2 * args.x.rows * args.n_heads * size * static_cast<int64_t>(sizeof(float));
  const int64_t n = std::ssize(args.segments) * args.n_heads;
  ParallelFor(ThreadsForBytes(exec, bytes), n, [&](int64_t i) {
    const Segment segment = args.segments[i / args.n_heads];
    const int64_t h = i % args.n_heads;
    for (int64_t t = segment.begin; t < segment.begin + segment.count; ++t) {
      StepHead(args, t, h, args.states[i / args.n_heads] + h * size);
    }
  });
}

}  // namespace pith::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pith::cpu {

HWY_EXPORT(RunSsdStep);

void SsdStep(const Exec& exec, const SsdArgs& args) {
  HWY_DYNAMIC_DISPATCH(RunSsdStep)(exec, args);
}

}  // namespace pith::cpu
#endif
