// What far rows leave in a Mamba-2 layer's state without being read out: the writes alone.
#ifndef PITH_OPS_FAR_WRITE_H_
#define PITH_OPS_FAR_WRITE_H_

#include <cstdint>
#include <span>

#include "core/exec.h"
#include "core/tensor.h"
#include "ops/far_region.h"

namespace pith {

// channels = n_heads · head_dim (x), then n_groups · d_state (B), then as many (C).
struct FarWriteArgs {
  FarRegion region;  // far > 0
  int64_t n_heads = 0;
  int64_t head_dim = 0;
  int64_t n_groups = 0;
  int64_t d_state = 0;
  int64_t d_conv = 4;                  // 1 … 8
  MatView<const float> rows;           // [far, d_model], normalised
  WeightView w;                        // [channels, d_model]: in_proj's part for x, B and C
  const float* bias = nullptr;         // [channels] or null
  const float* conv_weight = nullptr;  // [channels, d_conv], as in CausalConv1d
  const float* conv_bias = nullptr;    // [channels] or null
  MatView<const float> weight;         // [n_heads, far], as FarWeights gives it
  VecView<const float> decay;          // [n_heads]
  std::span<const uint8_t> needed;     // on the host [n_heads · chunks]: 1 where it is written
  MatView<float> b;                    // [far, n_groups · d_state]: scratch
  float* conv_state = nullptr;         // [d_conv − 1, channels], updated
  float* ssm_state = nullptr;          // [n_heads, d_state, head_dim], updated
};

// With x and B the rows' channels after projection, convolution (from conv_state) and SiLU:
//   ssm_state[h] ← decay[h] · ssm_state[h] + Σ_t weight[h, t] · B_t x_{t, h}ᵀ
// over the rows t of the chunks that head h needs, in ascending t; conv_state ← the last d_conv − 1
// inputs, as CausalConv1d would leave it. Work: x only for the pairs of head and chunk that are
// needed, B only for chunks that a head of the group needs, C only for the convolution's state.
// With everything needed it equals what Ssd leaves behind over the same rows, to rounding.
void FarWrite(const Exec& exec, const FarWriteArgs& args);

}  // namespace pith

#endif  // PITH_OPS_FAR_WRITE_H_
