#include "ops/selective_scan.h"

#include "ops/checks.h"
#include "ops/kernels.h"

namespace pith {

void SelectiveScan(const Exec& exec, const SelectiveScanArgs& args) {
  const int64_t rows = args.x.rows;
  PITH_CHECK(args.d_inner > 0 && args.d_state > 0);
  CheckMatrix(args.x, rows, args.d_inner);
  CheckMatrix(args.dt, rows, args.d_inner);
  CheckMatrix(args.b, rows, args.d_state);
  CheckVector(args.dt_bias, args.d_inner);
  CheckVector(args.a, args.d_state * args.d_inner);
  if (!args.y.empty()) {
    CheckMatrix(args.c, rows, args.d_state);
    CheckMatrix(args.y, rows, args.d_inner);
    CheckVector(args.d, args.d_inner);
  }
  CheckSegments(args.segments, args.states, rows);
  PITH_CHECK(args.segments.empty() || args.states.base != nullptr);
  KernelsFor(exec).selective_scan(exec, args);
}

}  // namespace pith
