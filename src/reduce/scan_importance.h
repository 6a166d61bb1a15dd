// Importance from what a layer's state space system does with a row: step, write and read.
#ifndef PITH_REDUCE_SCAN_IMPORTANCE_H_
#define PITH_REDUCE_SCAN_IMPORTANCE_H_

#include <cstdint>
#include <span>

#include "core/exec.h"
#include "core/tensor.h"
#include "reduce/policy.h"

namespace pith {

// A *unit* has one Δ: a head of Mamba-2, a channel of Mamba-1. It writes Δ B xᵀ (x: its head's or
// channel's input) into its state, which decays by exp(Δ · a) a row.
struct ScanShape {
  int64_t units = 0;
  int64_t groups = 1;  // of B and C; units / groups units share one
  int64_t d_state = 0;
  bool a_per_state = false;  // Mamba-1: a [d_state, units]; else a [units]

  int64_t bc_width() const { return groups * d_state; }
  int64_t row_width() const { return 2 * (units + bc_width()); }
};

// rows [n, row_width]: for each row Δ [units] after softplus and bounds, ‖x‖ [units], B and C
// [groups · d_state]. With T_u(t) = Σ Δ_u over the rows after t, and u's group g:
//   kDelta       mean_u Δ
//   kStateWrite  √ Σ_u (Δ ‖x‖)² Σ_n B_gn²
//   kFinalState  √ Σ_u (Δ ‖x‖)² Σ_n B_gn² exp(2 a_un T_u)
//   kTailQuery   cosine of B and the mean of the last max(1, tail) rows' C, over all groups; 0
//   where
//                either is zero
//   kLastRow     mean_u Δ Σ_n C_gn(last) B_gn exp(a_un T_u)
// in double, in an order that does not depend on the number of threads. Cost beside the scan: the
// decayed kinds take one exponential a unit and row (Mamba-1: a unit, state and row).
void ScanImportance(const Exec& exec, ImportanceKind kind, const ScanShape& shape, const float* a,
                    MatView<const float> rows, int64_t tail, std::span<float> importance);

}  // namespace pith

#endif  // PITH_REDUCE_SCAN_IMPORTANCE_H_
