#include "ops/ssd.h"

#include "ops/checks.h"
#include "ops/kernels.h"

namespace pith {
namespace {

void Check(const SsdArgs& args) {
  PITH_CHECK(args.n_heads > 0 && args.head_dim > 0 && args.d_state > 0 && args.chunk > 0);
  PITH_CHECK(args.n_groups > 0 && args.n_heads % args.n_groups == 0);
  const int64_t rows = args.x.rows;
  CheckMatrix(args.x, rows, args.n_heads * args.head_dim);
  CheckMatrix(args.b, rows, args.n_groups * args.d_state);
  CheckMatrix(args.c, rows, args.n_groups * args.d_state);
  CheckMatrix(args.dt, rows, args.n_heads);
  CheckMatrix(args.y, rows, args.n_heads * args.head_dim);
  CheckVector(args.dt_bias, args.n_heads);
  CheckVector(args.a, args.n_heads);
  CheckVector(args.d, args.d_has_hdim ? args.x.cols : args.n_heads);
  PITH_CHECK(args.dt_min >= 0 && args.dt_min <= args.dt_max);
  CheckSegments(args.segments, args.states, rows);
  PITH_CHECK(args.segments.empty() || args.states.base != nullptr);
  PITH_CHECK(args.wanted_from.empty() || args.wanted_from.size() == args.segments.size());
}

}  // namespace

void Ssd(const Exec& exec, const SsdArgs& args) {
  Check(args);
  KernelsFor(exec).ssd(exec, args);
}

void SsdStep(const Exec& exec, const SsdArgs& args) {
  Check(args);
  KernelsFor(exec).ssd_step(exec, args);
}

}  // namespace pith
