#include "ops/importance.h"

#include "ops/checks.h"
#include "ops/kernels.h"

namespace pith {

void RowImportance(const Exec& exec, ImportanceKind kind, MatView<const float> activations,
                   VecView<float> importance) {
  PITH_CHECK(kind <= ImportanceKind::kL2);
  PITH_CHECK(activations.cols > 0);
  CheckMatrix(activations, importance.size, activations.cols);
  CheckVector(importance, activations.rows);
  if (importance.empty()) return;
  KernelsFor(exec).row_importance(exec, kind, activations, importance);
}

}  // namespace pith
