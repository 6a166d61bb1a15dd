#include "model/facts.h"

#include <variant>

#include "model/layers/work.h"

namespace pith {

ModelFacts FactsOf(const ModelConfig& config) {
  ModelFacts facts;
  facts.kind = FactsName(config.layers);
  for (const LayerConfig& layer : config.layers) {
    facts.layers.push_back(
        std::visit([&](const auto& mixer) { return WorkOf(mixer, config.d_model); }, layer));
  }
  facts.head = 2.0 * static_cast<double>(config.d_model) * static_cast<double>(config.vocab_size);
  return facts;
}

}  // namespace pith
