// Importance from what a layer's state space system does with a row.
#ifndef PITH_OPS_SCAN_IMPORTANCE_H_
#define PITH_OPS_SCAN_IMPORTANCE_H_

#include "core/exec.h"
#include "core/tensor.h"
#include "ops/importance.h"
#include "ops/scan_features.h"

namespace pith {

struct ScanImportanceArgs {
  ImportanceKind kind = ImportanceKind::kDelta;  // kDelta … kLastRow
  ScanShape shape;
  VecView<const float> a;     // [units], or [d_state · units] with a_per_state; negative
  MatView<const float> rows;  // [n, row_width] of one sequence, as ScanFeatures leaves them
  int64_t tail = 1;           // for kTailQuery
  VecView<float> importance;  // [n]
};

// With T_u(t) = Σ Δ_u over the rows after t, and u's group g, importance[t] is
//   kDelta       mean_u Δ
//   kStateWrite  √ Σ_u (Δ ‖x‖)² Σ_n B_gn²
//   kFinalState  √ Σ_u (Δ ‖x‖)² Σ_n B_gn² exp(2 a_un T_u)
//   kTailQuery   cosine of B and the mean of the last max(1, tail) rows' C, over all groups;
//                0 where either is zero
//   kLastRow     mean_u Δ Σ_n C_gn(last) B_gn exp(a_un T_u)
// in double, in an order that depends on the shape alone. Cost beside the scan: the decayed kinds
// take one exponential a unit and row (a_per_state: a unit, state and row).
void ScanImportance(const Exec& exec, const ScanImportanceArgs& args);

}  // namespace pith

#endif  // PITH_OPS_SCAN_IMPORTANCE_H_
