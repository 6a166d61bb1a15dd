// Mamba-1's selective scan (Gu & Dao 2023, "Mamba", algorithm 2).
#ifndef PITH_OPS_SELECTIVE_SCAN_H_
#define PITH_OPS_SELECTIVE_SCAN_H_

#include <span>

#include "core/exec.h"
#include "core/tensor.h"

namespace pith {

// Per channel c and row t:
//   Δ = softplus(dt + dt_bias),  S[n] ← exp(Δ · a[n]) · S[n] + Δ · B_t[n] · x_t
//   y_t = Σ_n C_t[n] · S[n] + d · x_t
struct SelectiveScanArgs {
  int64_t d_inner = 0;
  int64_t d_state = 0;
  MatView<const float> x;        // [rows, d_inner], after the convolution
  MatView<const float> dt;       // [rows, d_inner], as dt_proj gives it, without its bias
  MatView<const float> b;        // [rows, d_state]
  MatView<const float> c;        // [rows, d_state]
  VecView<const float> dt_bias;  // [d_inner]
  VecView<const float> a;        // [d_state · d_inner], A transposed, negative
  VecView<const float> d;        // [d_inner]
  std::span<const Segment> segments;
  StateSlots states;  // each [d_state, d_inner], f32, updated
  // [rows, d_inner]; must not overlap the inputs. Empty: only the state is wanted, c and d are not
  // read. Changes no bit of the state.
  MatView<float> y;
};

// Sequential in t, so any cut into segments gives the same bits; serves prefill and decode.
void SelectiveScan(const Exec& exec, const SelectiveScanArgs& args);

}  // namespace pith

#endif  // PITH_OPS_SELECTIVE_SCAN_H_
