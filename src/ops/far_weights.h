// How much of what far rows write is left at the end of their region.
#ifndef PITH_OPS_FAR_WEIGHTS_H_
#define PITH_OPS_FAR_WEIGHTS_H_

#include <limits>
#include <span>

#include "core/exec.h"
#include "core/tensor.h"
#include "ops/far_region.h"

namespace pith {

struct FarWeightsArgs {
  FarRegion region;              // far > 0
  MatView<const float> dt;       // [far, heads], as in_proj gives it, without its bias
  VecView<const float> dt_bias;  // [heads]
  float dt_min = 0;
  float dt_max = std::numeric_limits<float>::infinity();
  VecView<const float> a;  // [heads], negative
  MatView<float> weight;   // [heads, far]
  VecView<float> decay;    // [heads]
  // On the host, for the choice of what is written: [heads · chunks] each.
  std::span<double> chunk_decay;
  std::span<double> chunk_mass;
};

// With Δ = clamp(softplus(dt + dt_bias), dt_min, dt_max) in f32 or wider, and T(t) = Σ Δ · a over
// the rows after t, summed in double from the region's end:
//   weight[h, t] = Δ_t · exp(T(t)), decay[h] = exp(Σ over all rows of Δ · a),
//   chunk_decay[h, c] = exp(T(last row of c)), chunk_mass[h, c] = Σ of weight over the rows of c.
void FarWeights(const Exec& exec, const FarWeightsArgs& args);

}  // namespace pith

#endif  // PITH_OPS_FAR_WEIGHTS_H_
