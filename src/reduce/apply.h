// The only code that moves rows.
#ifndef PITH_REDUCE_APPLY_H_
#define PITH_REDUCE_APPLY_H_

#include <span>

#include "core/exec.h"
#include "core/tensor.h"
#include "reduce/plan.h"

namespace pith {

enum class Branch : uint8_t { kHidden, kResidual };

// Merges and removes rows of one branch of one sequence in place: `rows` [n, d] holds the sequence;
// on return its first n − |removed| rows are the survivors in their order. Targets become what the
// branch's rule says, in f32; means add the target's original value and then the rows merged into
// it, in row order. Rows that are neither removed nor a target in this branch keep their bits. The
// plan must pass CheckPlan.
void ApplyPlan(const Exec& exec, const Plan& plan, Branch branch, MatView<float> rows);

// The same for sizes [n], how many tokens each row stands for: a target's grows by those of the
// rows that merge into it in either branch.
void ApplyPlanToSizes(const Plan& plan, std::span<float> sizes);

}  // namespace pith

#endif  // PITH_REDUCE_APPLY_H_
