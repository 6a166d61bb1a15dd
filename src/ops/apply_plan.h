// Merging and removing the rows of a sequence.
#ifndef PITH_OPS_APPLY_PLAN_H_
#define PITH_OPS_APPLY_PLAN_H_

#include "core/exec.h"
#include "core/tensor.h"
#include "ops/plan.h"

namespace pith {

enum class Branch : uint8_t { kHidden, kResidual };

// Merges and removes rows of one branch of one sequence in place: `rows` [n, d] holds the sequence;
// on return its first n − |removed| rows are the survivors in their order. Targets become what the
// branch's rule says, in f32 or wider; means add the target's original value and then the rows
// merged into it, in row order. Rows that are neither removed nor a target in this branch keep
// their bits. The plan, on the host, must pass CheckPlan.
void ApplyPlan(const Exec& exec, const Plan& plan, Branch branch, MatView<float> rows);

}  // namespace pith

#endif  // PITH_OPS_APPLY_PLAN_H_
