// Normalisation of rows, fused with the residual addition before it.
#ifndef PITH_OPS_NORM_H_
#define PITH_OPS_NORM_H_

#include "core/exec.h"
#include "core/tensor.h"

namespace pith {

struct AddNormArgs {
  MatView<const float> x;    // [rows, d]
  MatView<const float> add;  // [rows, d] or empty: added to x first
  MatView<float> sum;        // [rows, d] or empty: receives x + add; may be x itself
  // [rows, parts] or empty: Σ x² of each row in parts, where whoever made x left them. Backends may
  // take them in place of adding up squares, where `add` is empty.
  MatView<const float> squares;
  VecView<const float> weight;  // [d] or empty: ones
  VecView<const float> bias;    // [d] or empty: zeros; LayerNorm only
  bool layer_norm = false;      // LayerNorm instead of RMSNorm
  float eps = 1e-5f;
  MatView<float> out;  // [rows, d]; may be x itself
};

// RMSNorm: out = s / sqrt(mean(s²) + eps) · weight with s = x + add. LayerNorm:
// out = (s − mean(s)) / sqrt(var(s) + eps) · weight + bias.
void AddNorm(const Exec& exec, const AddNormArgs& args);

struct GateArgs {
  MatView<const float> y;  // [rows, d_inner]
  MatView<const float> z;  // [rows, d_inner]
  // Mamba-2's gated RMSNorm; empty leaves the bare gate of Mamba-1: out = y · silu(z).
  VecView<const float> norm_weight;  // [d_inner]
  float eps = 1e-5f;
  int64_t group = 0;  // width over which one mean square is taken; divides d_inner
  bool norm_before_gate =
      false;           // norm(y) · weight · silu(z) instead of norm(y · silu(z)) · weight
  MatView<float> out;  // [rows, d_inner]; may be y itself
};

void Gate(const Exec& exec, const GateArgs& args);

}  // namespace pith

#endif  // PITH_OPS_NORM_H_
