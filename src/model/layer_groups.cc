#include "model/layer_groups.h"

namespace pith {
namespace {

std::vector<LayerGroup> SplitAtSites(int64_t n_layer, const std::vector<int>& sites) {
  std::vector<LayerGroup> groups;
  int64_t begin = 0;
  for (size_t k = 0; k < sites.size(); ++k) {
    if (sites[k] < 0) continue;
    groups.push_back({.begin = begin, .end = sites[k] + 1, .site = static_cast<int>(k)});
    begin = sites[k] + 1;
  }
  groups.push_back({.begin = begin, .end = n_layer});
  return groups;
}

std::vector<LayerGroup> SplitByRoles(int64_t n_layer, const Skim& skim) {
  std::vector<LayerGroup> groups;
  for (int64_t l = 0; l < n_layer; ++l) {
    if (groups.empty() || groups.back().skim == skim.full(l)) {
      groups.push_back({.begin = l, .end = l, .skim = !skim.full(l)});
    }
    groups.back().end = l + 1;
  }
  return groups;
}

}  // namespace

std::vector<LayerGroup> GroupLayers(int64_t n_layer, const CompiledReduction* reduction) {
  if (reduction != nullptr && reduction->skim() != nullptr) {
    return SplitByRoles(n_layer, *reduction->skim());
  }
  if (reduction != nullptr && reduction->removal() != nullptr) {
    return SplitAtSites(n_layer, reduction->removal()->sites);
  }
  return {{.begin = 0, .end = n_layer}};
}

}  // namespace pith
