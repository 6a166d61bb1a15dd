#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/experts.cc"
#include <hwy/foreach_target.h>
// Highway wants its headers after foreach_target.h.
#include "backends/cpu/kernels.h"
#include "backends/cpu/math-inl.h"
#include "core/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace pith::cpu::HWY_NAMESPACE {

void RunAddScaledRows(const Exec& exec, const AddScaledRowsArgs& args) {
  ParallelFor(ThreadsFor(exec, args.x.rows * args.x.cols), args.x.rows, [&](int64_t r) {
    const float* const x = args.x.Row(r);
    float* const out = args.out.Row(args.rows.data[r]);
    ForVectors(args.x.cols, [&](auto d, int64_t i) HWY_ATTR {
      const auto weight = hn::Set(d, args.weights.data[r]);
      hn::StoreU(hn::MulAdd(weight, hn::LoadU(d, x + i), hn::LoadU(d, out + i)), d, out + i);
    });
  });
}

}  // namespace pith::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pith::cpu {

HWY_EXPORT(RunAddScaledRows);

void AddScaledRows(const Exec& exec, const AddScaledRowsArgs& args) {
  HWY_DYNAMIC_DISPATCH(RunAddScaledRows)(exec, args);
}

}  // namespace pith::cpu
#endif
