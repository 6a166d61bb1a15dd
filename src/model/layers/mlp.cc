// An MLP as a layer of its own: the second half of a Transformer's block. It has no state, so far
// rows do nothing in it, and a step's rows nothing with each other.
#include <string>

#include "core/error.h"
#include "model/layers/kinds.h"
#include "model/layers/work.h"
#include "ops/activation.h"
#include "ops/rows.h"

namespace pith {
namespace {

enum MlpScratch : size_t {
  kHidden,  // [wanted rows, d_hidden] what down_proj reads
  kUp,      // [wanted rows, d_hidden]
};

class MlpLayer : public Layer {
 public:
  MlpLayer(const MlpConfig& config, LayerBuilder& build)
      : Layer(build),
        config_(config),
        d_model_(build.config().d_model),
        weights_(build, "mixer.", config) {}

  LayerWork work() const override { return WorkOf(config_, d_model_); }
  StateSize state_size() const override { return {}; }
  int64_t width(Source source) const override {
    return source == Source::kGated ? config_.d_hidden : d_model_;
  }
  MatView<const float> Read(const Workspace& ws, Source source) const override {
    return source == Source::kGated ? ws.mixer[kHidden].view() : ws.h.view();
  }

 protected:
  void Mix(const LayerContext& context, const LayerRows& rows, const LayerStates& /*states*/,
           const AddNormArgs& norm) const override {
    const MatView<const float> x = NormWanted(context, rows, norm);
    if (x.rows == 0) return;
    weights_.Apply(context, x, kHidden, kUp, context.ws.h.Rows(0, x.rows));
  }
  FarWritten WriteNormedFar(const LayerContext& /*context*/, MatView<const float> /*normed*/,
                            const FarRegion& /*region*/, const Horizon& /*horizon*/,
                            const FarTarget& /*to*/) const override {
    return {};
  }

 private:
  const MlpConfig config_;
  const int64_t d_model_;
  const MlpWeights weights_;
};

}  // namespace

MlpWeights::MlpWeights(LayerBuilder& build, std::string_view prefix, const MlpConfig& config)
    : config_(config) {
  if (config.d_hidden == 0) return;
  const int64_t d_model = build.config().d_model;
  const auto name = [&](std::string_view rest) { return StrCat(prefix, rest); };
  const WeightUse use = config.bias ? WeightUse::kProduct : WeightUse::kWide;
  if (config.gated) gate_ = build.Matrix(name("gate_proj.weight"), config.d_hidden, d_model, use);
  up_ = build.KeyMatrix(name("up_proj.weight"), config.d_hidden, d_model, use);
  down_ = build.KeyMatrix(name("down_proj.weight"), d_model, config.d_hidden, use);
  if (!config.bias) return;
  if (config.gated) gate_bias_ = build.Vector(name("gate_proj.bias"), {config.d_hidden});
  up_bias_ = build.Vector(name("up_proj.bias"), {config.d_hidden});
  down_bias_ = build.Vector(name("down_proj.bias"), {d_model});
}

Activation MlpWeights::activation() const {
  switch (config_.activation) {
    case MlpActivation::kSilu:
      return Activation::kSilu;
    case MlpActivation::kGelu:
      return Activation::kGelu;
    case MlpActivation::kReluSquared:
      break;
  }
  return Activation::kReluSquared;
}

void MlpWeights::Apply(const LayerContext& context, MatView<const float> x, size_t hidden,
                       size_t scratch, MatView<float> out, const MlpAdapters* adapters) const {
  const MatView<float> inner = Scratch(context, hidden, x.rows, width());
  if (config_.gated) {
    const MatView<float> up = Scratch(context, scratch, x.rows, width());
    Project(context, x, gate_.view(), gate_bias_.view(), inner);
    if (config_.gate_scale != 1) ScaleRows(context.exec, inner, config_.gate_scale, inner);
    Project(context, x, up_.view(), up_bias_.view(), up);
    if (adapters != nullptr) {
      adapters->gate.Add(context, x, scratch + 1, scratch + 2, inner);
      adapters->up.Add(context, x, scratch + 1, scratch + 2, up);
    }
    Activate(context.exec, {.activation = activation(), .gate = inner, .up = up, .out = inner});
  } else {
    PITH_CHECK(adapters == nullptr);
    Project(context, x, up_.view(), up_bias_.view(), inner);
    Activate(context.exec, {.activation = activation(), .gate = inner, .up = {}, .out = inner});
  }
  Project(context, inner, down_.view(), down_bias_.view(), out);
  if (config_.out_scale != 1) ScaleRows(context.exec, out, config_.out_scale, out);
}

std::unique_ptr<Layer> MakeMlpLayer(const MlpConfig& config, LayerBuilder& build) {
  return std::make_unique<MlpLayer>(config, build);
}

}  // namespace pith
