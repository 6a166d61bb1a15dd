// Which kind of layer a configuration asks for: the one list of all kinds.
#include "model/layer.h"
#include "model/layers/kinds.h"
#include "model/layers/mamba.h"

namespace pith {

std::unique_ptr<Layer> MakeLayer(const LayerConfig& config, LayerBuilder& build) {
  struct Maker {
    LayerBuilder& build;
    std::unique_ptr<Layer> operator()(const Mamba1Config& c) { return MakeMamba1Layer(c, build); }
    std::unique_ptr<Layer> operator()(const Mamba2Config& c) { return MakeMamba2Layer(c, build); }
    std::unique_ptr<Layer> operator()(const AttentionConfig& c) {
      return MakeAttentionLayer(c, build);
    }
    std::unique_ptr<Layer> operator()(const ParallelConfig& c) {
      return MakeParallelLayer(c, build);
    }
    std::unique_ptr<Layer> operator()(const SharedBlockConfig& c) {
      return MakeSharedBlockLayer(c, build);
    }
    std::unique_ptr<Layer> operator()(const MlpConfig& c) { return MakeMlpLayer(c, build); }
    std::unique_ptr<Layer> operator()(const ExpertsConfig& c) { return MakeExpertsLayer(c, build); }
  };
  return std::visit(Maker{build}, config);
}

}  // namespace pith
