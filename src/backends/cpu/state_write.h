// The writes of one head into its state: the inner loop of FarWrite.
#ifndef PITH_BACKENDS_CPU_STATE_WRITE_H_
#define PITH_BACKENDS_CPU_STATE_WRITE_H_

#include "core/tensor.h"

namespace pith::cpu {

struct StateWriteArgs {
  MatView<const float> x;         // [rows, head_dim], after the convolution
  MatView<const float> b;         // [rows, d_state]
  const float* weight = nullptr;  // [rows]
  float* state = nullptr;         // [d_state, head_dim]
};

// state ← state + Σ_t weight_t · B_t x_tᵀ, the sum in ascending t.
void StateWrite(const StateWriteArgs& args);

}  // namespace pith::cpu

#endif  // PITH_BACKENDS_CPU_STATE_WRITE_H_
