// Depthwise causal convolution over time with carried state, then SiLU.
#ifndef PITH_OPS_CAUSAL_CONV1D_H_
#define PITH_OPS_CAUSAL_CONV1D_H_

#include <span>

#include "core/exec.h"
#include "core/tensor.h"

namespace pith {

struct CausalConv1dArgs {
  MatView<const float> x;  // [rows, channels], may be strided
  VecView<const float>
      weight;  // [channels · d_conv], channel by channel; tap d_conv − 1 meets the current input
  VecView<const float> bias;  // [channels] or empty
  int64_t d_conv = 4;         // 1 … 8
  std::span<const Segment> segments;
  // Each [d_conv − 1, channels], the inputs before the segment's first row, oldest
  // first; on return the inputs before the row that would follow its last.
  StateSlots states;
  MatView<float> out;  // [rows, channels]; must not overlap x
};

// out[t, c] = silu(bias[c] + Σ_k weight[c, k] · x[t − (d_conv − 1) + k, c]), the sum in the order
// of k, so that any cut of a sequence into segments gives the same bits.
void CausalConv1d(const Exec& exec, const CausalConv1dArgs& args);

}  // namespace pith

#endif  // PITH_OPS_CAUSAL_CONV1D_H_
