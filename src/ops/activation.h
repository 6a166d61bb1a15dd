// What an MLP does between its products.
#ifndef PITH_OPS_ACTIVATION_H_
#define PITH_OPS_ACTIVATION_H_

#include <cstdint>

#include "core/exec.h"
#include "core/tensor.h"

namespace pith {

enum class Activation : uint8_t {
  kSilu,         // x / (1 + e⁻ˣ)
  kGelu,         // x Φ(x), Φ being the normal distribution's: not its approximation by tanh
  kReluSquared,  // max(0, x)² (So et al. 2021, "Primer")
};

struct ActivateArgs {
  Activation activation = Activation::kSilu;
  MatView<const float> gate;  // [rows, d]
  MatView<const float> up;    // [rows, d], or empty: ones
  MatView<float> out;         // [rows, d]; may be gate or up itself
};

// out = activation(gate) · up, element by element.
void Activate(const Exec& exec, const ActivateArgs& args);

}  // namespace pith

#endif  // PITH_OPS_ACTIVATION_H_
