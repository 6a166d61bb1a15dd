// What importance reads of a layer's state space system, row by row: step, input, write and read.
#ifndef PITH_OPS_SCAN_FEATURES_H_
#define PITH_OPS_SCAN_FEATURES_H_

#include <cstdint>
#include <limits>

#include "core/exec.h"
#include "core/tensor.h"

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

struct ScanFeaturesArgs {
  ScanShape shape;
  MatView<const float> dt;       // [rows, units], as it enters the scan, without its bias
  VecView<const float> dt_bias;  // [units]
  float dt_min = 0;
  float dt_max = std::numeric_limits<float>::infinity();
  MatView<const float> x;  // [rows, units · width], after the convolution
  MatView<const float> b;  // [rows, bc_width]
  MatView<const float> c;  // [rows, bc_width]
  MatView<float> out;      // [rows, row_width]; must not overlap the inputs
};

// A row of out: Δ = clamp(softplus(dt + dt_bias), dt_min, dt_max) [units], ‖x‖ over each unit's
// width [units], and copies of B and C. Δ and norms are computed in double and rounded once.
void ScanFeatures(const Exec& exec, const ScanFeaturesArgs& args);

}  // namespace pith

#endif  // PITH_OPS_SCAN_FEATURES_H_
