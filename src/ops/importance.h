// One importance a row, from its activations (Eq. 5 and its alternatives).
#ifndef PITH_OPS_IMPORTANCE_H_
#define PITH_OPS_IMPORTANCE_H_

#include <cstdint>

#include "core/exec.h"
#include "core/tensor.h"

namespace pith {

// How a row gets one importance. RowImportance computes the first four from activations,
// ScanImportance the next five from what the scan read; the last comes from token ids, on the host.
enum class ImportanceKind : uint8_t {
  kClip,
  kNoClip,
  kL1,
  kL2,
  kDelta,       // mean Δ over heads (Mamba-1: channels)
  kStateWrite,  // ‖Δ B xᵀ‖, over all heads
  kFinalState,  // the same, decayed to the last row of the context
  kTailQuery,   // cosine of B and the mean C of the protected tail
  kLastRow,     // mean over heads of what the last row's C reads of Δ B, decayed
  kRarity,      // −log of the token's share of all tokens
};

// importance[t] = mean over channels of max(0, y), y or |y|, or √(mean of y²), for activations
// [rows, cols], cols > 0, and importance [rows]. Summed in double in an order that depends on the
// number of channels alone. A row with a NaN has importance NaN.
void RowImportance(const Exec& exec, ImportanceKind kind, MatView<const float> activations,
                   VecView<float> importance);

}  // namespace pith

#endif  // PITH_OPS_IMPORTANCE_H_
