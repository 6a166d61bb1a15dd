#include "ops/scan_importance.h"

#include "ops/checks.h"
#include "ops/kernels.h"

namespace pith {

void ScanImportance(const Exec& exec, const ScanImportanceArgs& args) {
  const ScanShape& shape = args.shape;
  PITH_CHECK(args.kind >= ImportanceKind::kDelta && args.kind <= ImportanceKind::kLastRow);
  PITH_CHECK(shape.units > 0 && shape.groups > 0 && shape.units % shape.groups == 0);
  CheckVector(args.a, shape.units * (shape.a_per_state ? shape.d_state : 1));
  CheckMatrix(args.rows, args.importance.size, shape.row_width());
  CheckVector(args.importance, args.rows.rows);
  if (args.importance.empty()) return;
  KernelsFor(exec).scan_importance(exec, args);
}

}  // namespace pith
