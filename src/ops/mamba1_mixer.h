// A whole Mamba-1 mixer in one call: for backends that keep what passes between its operators to
// themselves, in 16 bits. Where a backend does not take it, the layer composes the parts.
#ifndef PITH_OPS_MAMBA1_MIXER_H_
#define PITH_OPS_MAMBA1_MIXER_H_

#include <cstdint>
#include <span>

#include "core/exec.h"
#include "core/tensor.h"
#include "core/weight.h"
#include "ops/causal_conv1d.h"
#include "ops/compact_rows.h"
#include "ops/norm.h"
#include "ops/selective_scan.h"

namespace pith {

struct Mamba1MixerArgs {
  AddNormArgs norm;    // out is scratch
  CompactRows add;     // in place of norm.add
  WeightView in_proj;  // [x, z; d_model]
  VecView<const float> in_bias;
  CausalConv1dArgs conv;   // x and out are not read
  WeightView x_proj;       // [Δ, B, C; d_inner]
  WeightView dt_proj;      // [d_inner, dt_rank]
  bool bcdt_norm = false;  // Δ, B and C are normalised each (FalconMamba)
  SelectiveScanArgs scan;  // x, dt, b, c and y are not read
  bool step = false;       // one row a segment
  WeightView out_proj;     // [d_model, d_inner]
  VecView<const float> out_bias;
  std::span<const int64_t> wanted;  // on the host; read where h has fewer rows than norm.x
  MatView<float> h;                 // [wanted rows, d_model], or room for `compact`
  // Where given, receives the hidden branch of prefill's rows in place of h.
  CompactRows* compact = nullptr;
  MatView<float> step_proj;  // [rows, 2 d_inner]: scratch of steps
  // What policies read afterwards, or empty. Steps take all but kept_dt and kept_y as scratch.
  MatView<float> kept_conv;   // [rows, d_inner]
  MatView<float> kept_bcdt;   // [rows, dt_rank + 2 d_state] Δ, B, C as x_proj gives them
  MatView<float> kept_dt;     // [rows, d_inner] Δ as dt_proj gives it, without its bias
  MatView<float> kept_y;      // [rows, d_inner]
  MatView<float> kept_gated;  // [wanted rows, d_inner]
};

// Whether exec's backend does this mixer as a whole. Reads sizes, modes and weights alone: no row,
// state or scratch need be there yet.
bool TakesMamba1Mixer(const Exec& exec, const Mamba1MixerArgs& args);

// AddNorm, in_proj, CausalConv1d, x_proj, dt_proj, SelectiveScan, Gate and out_proj over the wanted
// rows; agrees with them to the rounding of what passes between them to 16 bits. A row's bits
// depend on its own sequence alone, wherever that is cut. Only where TakesMamba1Mixer.
void Mamba1Mixer(const Exec& exec, const Mamba1MixerArgs& args);

}  // namespace pith

#endif  // PITH_OPS_MAMBA1_MIXER_H_
