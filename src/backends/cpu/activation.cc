#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/activation.cc"
#include <hwy/foreach_target.h>
// Highway wants its headers after foreach_target.h.
#include "backends/cpu/kernels.h"
#include "backends/cpu/math-inl.h"
#include "core/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace pith::cpu::HWY_NAMESPACE {

template <Activation kActivation, class Tag>
HWY_INLINE hn::Vec<Tag> Activated(Tag d, hn::Vec<Tag> x) {
  if constexpr (kActivation == Activation::kSilu) return Silu(d, x);
  if constexpr (kActivation == Activation::kGelu) return Gelu(d, x);
  const auto positive = hn::IfThenZeroElse(hn::Lt(x, hn::Zero(d)), x);  // NaN stays
  return hn::Mul(positive, positive);
}

template <Activation kActivation>
void ActivateRow(const ActivateArgs& args, int64_t row) {
  const float* const gate = args.gate.Row(row);
  const float* const up = args.up.empty() ? nullptr : args.up.Row(row);
  float* const out = args.out.Row(row);
  ForVectors(args.out.cols, [&](auto d, int64_t i) HWY_ATTR {
    const auto v = Activated<kActivation>(d, hn::LoadU(d, gate + i));
    hn::StoreU(up != nullptr ? hn::Mul(v, hn::LoadU(d, up + i)) : v, d, out + i);
  });
}

void RunActivate(const Exec& exec, const ActivateArgs& args) {
  constexpr auto kSilu = ActivateRow<Activation::kSilu>;
  constexpr auto kGelu = ActivateRow<Activation::kGelu>;
  constexpr auto kReluSquared = ActivateRow<Activation::kReluSquared>;
  const auto row = args.activation == Activation::kSilu   ? kSilu
                   : args.activation == Activation::kGelu ? kGelu
                                                          : kReluSquared;
  ParallelFor(ThreadsFor(exec, args.out.rows * args.out.cols), args.out.rows,
              [&](int64_t r) { row(args, r); });
}

}  // namespace pith::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pith::cpu {

HWY_EXPORT(RunActivate);

void Activate(const Exec& exec, const ActivateArgs& args) {
  HWY_DYNAMIC_DISPATCH(RunActivate)(exec, args);
}

}  // namespace pith::cpu
#endif
