// What the mixers of Mamba-1 and Mamba-2 share.
#ifndef PITH_MODEL_LAYERS_MAMBA_H_
#define PITH_MODEL_LAYERS_MAMBA_H_

#include <vector>

#include "model/layer.h"
#include "model/layers/kinds.h"
#include "ops/causal_conv1d.h"
#include "ops/fused.h"

namespace pith {

// The scratch of a Mamba mixer in Workspace::mixer.
enum MambaScratch : size_t {
  kProj,               // [rows, in_proj_rows − d_inner] Mamba-1: x; Mamba-2: x, B, C, Δ
  kGate,               // [wanted rows, d_inner] z
  kConv,               // [rows, conv_channels]
  kScan,               // [rows, d_inner] output of the state space layer, before the gate
  kGated,              // [wanted rows, d_inner] what out_proj reads
  kBcdt,               // Mamba-1: [rows, dt_rank + 2 d_state] Δ, B, C as x_proj gives them
  kDelta,              // Mamba-1: [rows, d_inner]
  kFarWeight = kBcdt,  // Mamba-2, under skim: [n_heads, far]
  kFarDecay = kDelta,  // Mamba-2, under skim: [n_heads]
};

// Weights that both kinds have, and the steps that they share.
class MambaMixer {
 public:
  // What Falcon-H1 multiplies: in_proj's input, and the convolution's channels by numbers that
  // include it. Both go into weights that are f32 anyway, the convolution's and in_proj's bias, so
  // in_proj itself stays as its file has it; z and Δ are left to the layer.
  struct InputScales {
    float in = 1;
    std::vector<float> channels = {};  // [conv_channels]; empty: ones
  };
  MambaMixer(LayerBuilder& build, const MambaConfig& config, int64_t conv_channels,
             int64_t in_proj_rows, const InputScales& scales);
  // Read last, since the fingerprint wants this order.
  void LoadProjections(LayerBuilder& build);

  int64_t d_model() const { return d_model_; }
  int64_t conv_channels() const { return conv_channels_; }
  // The state: inputs of the convolution, then the SSM state of `ssm_size` floats.
  int64_t conv_size() const { return (config_.d_conv - 1) * conv_channels_; }

  // in_proj's outputs [begin, begin + out.cols) of x [rows, d_model].
  void ProjectIn(const LayerContext& context, MatView<const float> x, int64_t begin,
                 MatView<float> out) const;
  // The norm, then in_proj: for all rows outputs [begin, begin + rest.cols) → rest, for the wanted
  // ones [gate_begin, gate_begin + gate.cols) → gate.
  void NormAndProjectIn(const LayerContext& context, const LayerRows& rows, const AddNormArgs& norm,
                        int64_t begin, MatView<float> rest, int64_t gate_begin,
                        MatView<float> gate) const;
  // Of convolution and SiLU, but for x and out.
  CausalConv1dArgs Convolution(const LayerRows& rows, const LayerStates& states) const;
  // out_proj of the wanted rows' gated [wanted, d_inner] → ws.h.
  void ProjectOut(const LayerContext& context, const LayerRows& rows,
                  MatView<const float> gated) const;

  const WeightView& in_proj() const { return in_proj_.view(); }
  // Of in_proj's outputs [begin, begin + count); empty where there is none.
  VecView<const float> in_proj_bias(int64_t begin, int64_t count) const {
    return in_proj_bias_.empty() ? VecView<const float>() : in_proj_bias_.view().Part(begin, count);
  }
  const WeightView& out_proj() const { return out_proj_.view(); }
  VecView<const float> out_proj_bias() const { return out_proj_bias_.view(); }
  VecView<const float> conv_weight() const { return conv_weight_.view(); }
  VecView<const float> conv_bias() const { return conv_bias_.view(); }

 private:
  const MambaConfig config_;
  const float in_scale_;
  const int64_t d_model_;
  const int64_t conv_channels_;
  const int64_t in_proj_rows_;
  DeviceVector conv_weight_;  // [conv_channels · d_conv], oldest tap first
  DeviceVector conv_bias_;
  Weight in_proj_;  // [in_proj_rows, d_model]
  DeviceVector in_proj_bias_;
  Weight out_proj_;  // [d_model, d_inner]
  DeviceVector out_proj_bias_;
};

// Which rows the gate reads, for the fused operators.
ReadOut ReadOutOf(const LayerContext& context, const LayerRows& rows, int64_t width);

std::unique_ptr<Layer> MakeMamba1Layer(const Mamba1Config& config, LayerBuilder& build);
std::unique_ptr<Layer> MakeMamba2Layer(const Mamba2Config& config, LayerBuilder& build);

}  // namespace pith

#endif  // PITH_MODEL_LAYERS_MAMBA_H_
