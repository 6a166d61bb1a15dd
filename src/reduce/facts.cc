#include "reduce/facts.h"

#include <algorithm>

namespace pith {

double ModelFacts::LayersWork() const {
  double work = 0;
  for (const LayerWork& layer : layers) work += layer.full;
  return work;
}

int64_t ModelFacts::d_conv() const {
  int64_t most = 0;
  for (const LayerWork& layer : layers) most = std::max(most, layer.d_conv);
  return most;
}

bool ModelFacts::has_horizon() const {
  return std::ranges::any_of(layers, [](const LayerWork& layer) { return layer.heads > 0; });
}

}  // namespace pith
