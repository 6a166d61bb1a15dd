// What tokens leave in an SSM state without being read out: the writes alone.
#ifndef PITH_OPS_STATE_WRITE_H_
#define PITH_OPS_STATE_WRITE_H_

#include "core/exec.h"
#include "core/tensor.h"

namespace pith {

struct StateWriteArgs {
  MatView<const float> x;         // [rows, head_dim], after the convolution
  MatView<const float> b;         // [rows, d_state]
  const float* weight = nullptr;  // [rows] Δ_t · decay from after t to the last row
  float decay = 1;                // of the state over all rows
  float* state = nullptr;         // [d_state, head_dim], one head of SsdArgs::states
};

// state ← decay · state + Σ_t weight_t · B_t x_tᵀ, the sum in ascending t. Runs on the calling
// thread: callers share out heads. Equals the last state of Ssd over the same rows, to rounding.
void StateWrite(const Exec& exec, const StateWriteArgs& args);

}  // namespace pith

#endif  // PITH_OPS_STATE_WRITE_H_
