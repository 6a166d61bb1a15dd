#include "ops/apply_plan.h"

#include "ops/checks.h"
#include "ops/kernels.h"

namespace pith {

void ApplyPlan(const Exec& exec, const Plan& plan, Branch branch, MatView<float> rows) {
  CheckMatrix(rows, rows.rows, rows.cols);
  CheckPlan(plan, rows.rows);
  if (plan.removed.empty() || rows.empty()) return;
  KernelsFor(exec.device).apply_plan(exec, plan, branch, rows);
}

}  // namespace pith
