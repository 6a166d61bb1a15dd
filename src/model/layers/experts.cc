// A mixture of experts as a layer: each row goes to a few MLPs of many, and to a shared one.
#include <string>
#include <vector>

#include "core/error.h"
#include "model/layers/kinds.h"
#include "model/layers/work.h"
#include "ops/experts.h"

namespace pith {
namespace {

enum ExpertsScratch : size_t {
  kLogits,    // [wanted rows, experts] of the router
  kGathered,  // [wanted rows, d_model] rows of one expert
  kGate,      // [wanted rows, width]
  kUp,        // [wanted rows, width]
  kProduct,   // [wanted rows, d_model]
  kWeights,   // [1, wanted rows · chosen] of the rows, expert after expert
};

RouterKind KindOf(ExpertRouter router) {
  switch (router) {
    case ExpertRouter::kSoftmaxOfAll:
      return RouterKind::kSoftmaxOfAll;
    case ExpertRouter::kSigmoid:
      return RouterKind::kSigmoid;
    case ExpertRouter::kSoftmaxOfChosen:
      break;
  }
  return RouterKind::kSoftmaxOfChosen;
}

class ExpertsLayer : public Layer {
 public:
  ExpertsLayer(const ExpertsConfig& config, LayerBuilder& build)
      : Layer(build),
        config_(config),
        d_model_(build.config().d_model),
        shared_(build, "mixer.shared.", config.shared) {
    router_ = build.KeyMatrix("mixer.router.weight", config.n_experts, d_model_);
    if (config.correction)
      correction_ = build.Values("mixer.router.correction", {config.n_experts});
    for (int64_t e = 0; e < config.n_experts; ++e) {
      experts_.emplace_back(build, StrCat("mixer.experts.", e, "."), config.expert);
      const MlpWeights& expert = experts_.back();
      views_.push_back({.gate = expert.gate(), .up = expert.up(), .down = expert.down()});
    }
  }

  LayerWork work() const override { return WorkOf(config_, d_model_); }
  StateSize state_size() const override { return {}; }
  bool repeats_steps() const override { return false; }  // the host chooses among experts
  int64_t width(Source /*source*/) const override { return d_model_; }
  MatView<const float> Read(const Workspace& ws, Source /*source*/) const override {
    return ws.h.view();
  }

 protected:
  void Mix(const LayerContext& context, const LayerRows& rows, const LayerStates& /*states*/,
           const AddNormArgs& norm) const override {
    const MatView<const float> x = NormWanted(context, rows, norm);
    if (x.rows == 0) return;
    const MatView<float> out = context.ws.h.Rows(0, x.rows);
    const MatView<float> logits = Scratch(context, kLogits, x.rows, config_.n_experts);
    Project(context, x, router_.view(), {}, logits);
    Routing& routing = context.ws.routing;
    RouteExperts(context.exec,
                 {.kind = KindOf(config_.router),
                  .logits = logits,
                  .chosen = config_.chosen,
                  .normalise = config_.normalise,
                  .scale = config_.scale,
                  .correction = correction_,
                  .groups = config_.groups,
                  .chosen_groups = config_.chosen_groups},
                 routing);
    const bool shared = shared_.width() > 0;
    if (shared) shared_.Apply(context, x, kGate, kUp, out);
    ApplyExperts(context, x, routing, shared, out);
  }
  FarWritten WriteNormedFar(const LayerContext& /*context*/, MatView<const float> /*normed*/,
                            const FarRegion& /*region*/, const Horizon& /*horizon*/,
                            const FarTarget& /*to*/) const override {
    return {};
  }

 private:
  void ApplyExperts(const LayerContext& context, MatView<const float> x, const Routing& routing,
                    bool add, MatView<float> out) const {
    const int64_t width = config_.expert.d_hidden;
    const int64_t pairs = x.rows * config_.chosen;
    context.ws.order.Resize(context.exec, 1, pairs);
    ExpertMlp(context.exec, {.x = x,
                             .routing = &routing,
                             .experts = views_,
                             .activation = experts_.front().activation(),
                             .step = context.mode == LayerMode::kStep,
                             .order = {context.ws.order.view().data, pairs},
                             .weights = {Scratch(context, kWeights, 1, pairs).data, pairs},
                             .gathered = Scratch(context, kGathered, x.rows, d_model_),
                             .gate = config_.expert.gated ? Scratch(context, kGate, x.rows, width)
                                                          : MatView<float>(),
                             .up = Scratch(context, kUp, x.rows, width),
                             .product = Scratch(context, kProduct, x.rows, d_model_),
                             .add = add,
                             .out = out});
  }

  const ExpertsConfig config_;
  const int64_t d_model_;
  const MlpWeights shared_;
  Weight router_;                  // [n_experts, d_model]
  std::vector<float> correction_;  // [n_experts] or empty
  std::vector<MlpWeights> experts_;
  std::vector<ExpertWeights> views_;  // of the same
};

}  // namespace

std::unique_ptr<Layer> MakeExpertsLayer(const ExpertsConfig& config, LayerBuilder& build) {
  return std::make_unique<ExpertsLayer>(config, build);
}

}  // namespace pith
