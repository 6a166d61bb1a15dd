// What the far rows of several texts write into several Mamba-2 layers, in one call: for backends
// that do better with all of them at once. A text's stream is the same in each layer, since far
// rows pass none. Where a backend does not take it, norm.h, linear.h, far_weights.h, horizon.h and
// far_write.h have the parts.
#ifndef PITH_OPS_FAR_LAYERS_H_
#define PITH_OPS_FAR_LAYERS_H_

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "core/exec.h"
#include "core/tensor.h"
#include "core/weight.h"
#include "ops/far_region.h"
#include "ops/horizon.h"

namespace pith {

// The sizes that all layers share. channels = n_heads · head_dim (x), then n_groups · d_state (B),
// then as many (C).
struct FarShape {
  int64_t d_model = 0;
  int64_t n_heads = 0;
  int64_t head_dim = 0;
  int64_t n_groups = 0;
  int64_t d_state = 0;
  int64_t d_conv = 4;
  float dt_min = 0;
  float dt_max = std::numeric_limits<float>::infinity();
  bool layer_norm = false;  // the norm in front: RMSNorm or LayerNorm
  float eps = 1e-5f;        // of it
  bool operator==(const FarShape&) const = default;

  int64_t channels() const { return n_heads * head_dim + 2 * n_groups * d_state; }
};

// One layer's weights, and the states of all slots in it.
struct FarLayer {
  VecView<const float> norm_weight;  // [d_model], of the norm in front
  WeightView w;                      // [channels + n_heads, d_model]: in_proj's part x, B, C, Δ
  VecView<const float> bias;         // [channels + n_heads] or empty
  VecView<const float> conv_weight;  // [channels · d_conv], as in CausalConv1d
  VecView<const float> conv_bias;    // [channels] or empty
  VecView<const float> dt_bias;      // [n_heads]
  VecView<const float> a;            // [n_heads], negative
  // Of slot 0; those of the next slot are `stride` floats on.
  float* conv_states = nullptr;  // [d_conv − 1, channels], updated
  float* ssm_states = nullptr;   // [n_heads, d_state, head_dim], updated
  int64_t stride = 0;
};

// One text's far rows.
struct FarText {
  FarRegion region;             // far > 0
  MatView<const float> stream;  // [far, d_model]: the rows in front of the norm
  int32_t slot = 0;             // of its states; no two texts share one
};

struct FarLayersArgs {
  FarShape shape;
  Horizon horizon;
  std::span<const FarLayer> layers;
  std::span<const FarText> texts;
  // In the backend's memory, text after text, each [layers · n_heads · chunks]: receives 1 where
  // the chunk is written, else 0. Nothing waits for it.
  VecView<uint8_t> needed;

  // The masks of a text.
  int64_t CountMasks(const FarText& text) const {
    return static_cast<int64_t>(layers.size()) * shape.n_heads * CountChunks(text.region);
  }
};

// Whether exec's backend does this as a whole for each of the texts. Reads sizes and weights alone:
// streams, `needed` and states need not be there yet.
bool TakesFarLayers(const Exec& exec, const FarLayersArgs& args);

// For each text and layer AddNorm, Linear for Δ, FarWeights, NeededChunks and FarWrite; agrees with
// them to the rounding of what passes between them to 16 bits, and with the norm's weight
// multiplied into in_proj's. What is needed follows from Δ so computed. A text's bits do not depend
// on the others. Only where TakesFarLayers.
void FarLayers(const Exec& exec, const FarLayersArgs& args);

}  // namespace pith

#endif  // PITH_OPS_FAR_LAYERS_H_
