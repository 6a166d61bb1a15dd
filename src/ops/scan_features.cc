#include "ops/scan_features.h"

#include "ops/checks.h"
#include "ops/kernels.h"

namespace pith {

void ScanFeatures(const Exec& exec, const ScanFeaturesArgs& args) {
  const ScanShape& shape = args.shape;
  const int64_t rows = args.out.rows;
  PITH_CHECK(shape.units > 0 && shape.groups > 0 && shape.units % shape.groups == 0);
  PITH_CHECK(args.x.cols > 0 && args.x.cols % shape.units == 0);
  PITH_CHECK(args.dt_min >= 0 && args.dt_min <= args.dt_max);
  CheckMatrix(args.dt, rows, shape.units);
  CheckVector(args.dt_bias, shape.units);
  CheckMatrix(args.x, rows, args.x.cols);
  CheckMatrix(args.b, rows, shape.bc_width());
  CheckMatrix(args.c, rows, shape.bc_width());
  CheckMatrix(args.out, rows, shape.row_width());
  if (rows == 0) return;
  KernelsFor(exec).scan_features(exec, args);
}

}  // namespace pith
