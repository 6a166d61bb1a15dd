// The kinds of layers beside Mamba's, and what all kinds share.
#ifndef PITH_MODEL_LAYERS_KINDS_H_
#define PITH_MODEL_LAYERS_KINDS_H_

#include <memory>
#include <string_view>

#include "model/layer.h"
#include "ops/activation.h"

namespace pith {

// The product for the mode: many rows, or a step's few.
void Project(const LayerContext& context, MatView<const float> x, const WeightView& w,
             VecView<const float> bias, MatView<float> out);

// Workspace::mixer[name] with room for [rows, cols]. Each kind numbers its own.
MatView<float> Scratch(const LayerContext& context, size_t name, int64_t rows, int64_t cols);

// Runs the norm for all rows; the normed rows that are wanted, gathered where they are not all.
MatView<const float> NormWanted(const LayerContext& context, const LayerRows& rows,
                                const AddNormArgs& norm);

// The weights of an MLP.
class MlpWeights {
 public:
  // `prefix` as in "mixer."; d_hidden 0: there is none.
  MlpWeights(LayerBuilder& build, std::string_view prefix, const MlpConfig& config);

  int64_t width() const { return config_.d_hidden; }
  Activation activation() const;
  const WeightView& gate() const { return gate_.view(); }  // [d_hidden, d_model], empty: not gated
  const WeightView& up() const { return up_.view(); }      // [d_hidden, d_model]
  const WeightView& down() const { return down_.view(); }  // [d_model, d_hidden]

  // x [rows, d_model] → out [rows, d_model]. Leaves what `down` reads in ws.mixer[hidden]; uses
  // ws.mixer[scratch] where it is gated.
  void Apply(const LayerContext& context, MatView<const float> x, size_t hidden, size_t scratch,
             MatView<float> out) const;

 private:
  const MlpConfig config_;
  Weight gate_;
  Weight up_;
  Weight down_;
  DeviceVector gate_bias_;
  DeviceVector up_bias_;
  DeviceVector down_bias_;
};

std::unique_ptr<Layer> MakeAttentionLayer(const AttentionConfig& config, LayerBuilder& build);
std::unique_ptr<Layer> MakeParallelLayer(const ParallelConfig& config, LayerBuilder& build);
std::unique_ptr<Layer> MakeMlpLayer(const MlpConfig& config, LayerBuilder& build);
std::unique_ptr<Layer> MakeExpertsLayer(const ExpertsConfig& config, LayerBuilder& build);

}  // namespace pith

#endif  // PITH_MODEL_LAYERS_KINDS_H_
