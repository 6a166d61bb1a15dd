// The kinds of layers beside Mamba's, and what all kinds share.
#ifndef PITH_MODEL_LAYERS_KINDS_H_
#define PITH_MODEL_LAYERS_KINDS_H_

#include <memory>
#include <string_view>
#include <vector>

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

// Beside a matrix W: y ← y + up (down x) (Hu et al. 2021, "LoRA").
struct Adapter {
  Weight down;  // [rank, in]
  Weight up;    // [out, rank]

  // Adds to y [rows, out]; `low` and `sum` name two of ws.mixer for its products.
  void Add(const LayerContext& context, MatView<const float> x, size_t low, size_t sum,
           MatView<float> y) const;
};

// The weights of attention, whose biases may be empty.
struct AttentionWeights {
  // `prefix` as in "mixer."; rows of `in` numbers come in.
  AttentionWeights(LayerBuilder& build, std::string_view prefix, const AttentionConfig& config,
                   int64_t in);

  Weight q;    // [q_width, in]
  Weight k;    // [kv_width, in]
  Weight v;    // [kv_width, in]
  Weight out;  // [d_model, q_width]
  DeviceVector q_bias;
  DeviceVector k_bias;
  DeviceVector v_bias;
  DeviceVector out_bias;
  DeviceVector q_norm;  // [head_dim] or empty
  DeviceVector k_norm;
};

// Those that a layer shares with others, and its own adapters of q, k and v; or none.
struct SharedAttention {
  std::shared_ptr<const AttentionWeights> weights;
  std::vector<Adapter> adapters;
};

// A layer's own adapters of the gate and up matrices.
struct MlpAdapters {
  Adapter gate;
  Adapter up;
};

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
  // ws.mixer[scratch] where it is gated, and with adapters the two behind it.
  void Apply(const LayerContext& context, MatView<const float> x, size_t hidden, size_t scratch,
             MatView<float> out, const MlpAdapters* adapters = nullptr) const;

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
std::unique_ptr<Layer> MakeSharedAttention(const AttentionConfig& config, SharedAttention shared,
                                           LayerBuilder& build);
std::unique_ptr<Layer> MakeParallelLayer(const ParallelConfig& config, LayerBuilder& build);
std::unique_ptr<Layer> MakeSharedBlockLayer(const SharedBlockConfig& config, LayerBuilder& build);
std::unique_ptr<Layer> MakeMlpLayer(const MlpConfig& config, LayerBuilder& build);
std::unique_ptr<Layer> MakeExpertsLayer(const ExpertsConfig& config, LayerBuilder& build);

}  // namespace pith

#endif  // PITH_MODEL_LAYERS_KINDS_H_
