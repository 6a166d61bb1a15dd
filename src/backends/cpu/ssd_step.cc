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

// state: [d_state, head_dim], this head's.
void StepHead(const SsdArgs& args, int64_t row, int64_t h, float* state) {
  const hn::CappedTag<float, 1> one;
  const int64_t P = args.head_dim;
  const int64_t group = h / (args.n_heads / args.n_groups);
  const float softplus =
      hn::GetLane(Softplus(one, hn::Set(one, args.dt.Row(row)[h] + args.dt_bias.data[h])));
  const float dt = std::clamp(softplus, args.dt_min, args.dt_max);
  const float decay = hn::GetLane(FastExp(one, hn::Set(one, dt * args.a.data[h])));
  const float* x = args.x.Row(row) + h * P;
  const float* b = args.b.Row(row) + group * args.d_state;
  const float* c = args.c.Row(row) + group * args.d_state;
  float* y = args.y.Row(row) + h * P;
  ForVectors(P, [&](auto d, int64_t p) HWY_ATTR {
    const auto in = hn::LoadU(d, x + p);
    const auto dt_x = hn::Mul(in, hn::Set(d, dt));
    const auto skip =
        args.d_has_hdim ? hn::LoadU(d, args.d.data + h * P + p) : hn::Set(d, args.d.data[h]);
    auto sum = hn::Mul(skip, in);
    for (int64_t n = 0; n < args.d_state; ++n) {
      float* const cell = state + n * P + p;
      const auto decayed = hn::Mul(hn::Set(d, decay), hn::LoadU(d, cell));
      const auto next = hn::MulAdd(hn::Set(d, b[n]), dt_x, decayed);
      hn::StoreU(next, d, cell);
      sum = hn::MulAdd(hn::Set(d, c[n]), next, sum);
    }
    hn::StoreU(sum, d, y + p);
  });
}

void RunSsdStep(const Exec& exec, const SsdArgs& args) {
  const int64_t size = args.d_state * args.head_dim;
  const int threads = ThreadsFor(exec, args.x.rows * args.n_heads * size / 8);
  ParallelFor(threads, args.segments.size() * args.n_heads, [&](int64_t i) {
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
