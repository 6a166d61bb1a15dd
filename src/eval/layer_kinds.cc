#include "eval/layer_kinds.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace pith {

std::vector<std::string> MixingKinds(std::span<const LayerInfo> layers) {
  std::vector<std::string> kinds;
  for (const LayerInfo& layer : layers) {
    const bool known = std::ranges::find(kinds, layer.kind) != kinds.end();
    if (layer.mixes && !known) kinds.push_back(layer.kind);
  }
  return kinds;
}

std::vector<std::string> KindsToTry(std::span<const LayerInfo> layers) {
  std::vector<std::string> kinds = MixingKinds(layers);
  if (kinds.size() < 2) return {""};
  kinds.insert(kinds.begin(), "");
  return kinds;
}

std::string LayersByKind(std::span<const LayerInfo> layers, std::span<const int> which) {
  std::vector<std::pair<std::string, std::vector<int>>> kinds;
  for (const int l : which) {
    const std::string& kind = layers[static_cast<size_t>(l)].kind;
    auto at = std::ranges::find(kinds, kind, &std::pair<std::string, std::vector<int>>::first);
    if (at == kinds.end()) at = kinds.insert(at, {kind, {}});
    at->second.push_back(l);
  }
  std::string text;
  for (const auto& [kind, numbers] : kinds) {
    text += StrCat(text.empty() ? "" : ", ", kind, " ", JoinLayers(numbers));
  }
  return text;
}

std::string JoinLayers(std::span<const int> layers) {
  std::string text;
  for (size_t begin = 0, end; begin < layers.size(); begin = end) {
    for (end = begin + 1; end < layers.size() && layers[end] == layers[end - 1] + 1;) ++end;
    text += StrCat(text.empty() ? "" : "+", layers[begin]);
    if (end - begin > 1) text += StrCat("-", layers[end - 1]);
  }
  return text;
}

}  // namespace pith
