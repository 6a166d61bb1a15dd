// One importance a row, from its activations (docs/reductions.md, "Importance and matching").
#ifndef PITH_REDUCE_IMPORTANCE_H_
#define PITH_REDUCE_IMPORTANCE_H_

#include <span>

#include "core/exec.h"
#include "core/tensor.h"
#include "reduce/policy.h"

namespace pith {

// importance[t] = mean over channels of max(0, y), y or |y|, or √(mean of y²), summed in double in
// an order that depends on the number of channels alone. A row with a NaN has importance NaN, which
// policies rank below all others.
void RowImportance(const Exec& exec, ImportanceKind kind, MatView<const float> activations,
                   std::span<float> importance);

}  // namespace pith

#endif  // PITH_REDUCE_IMPORTANCE_H_
