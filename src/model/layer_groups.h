// Where a pass over the layers is cut: groups of layers whose rows have the same roles.
#ifndef PITH_MODEL_LAYER_GROUPS_H_
#define PITH_MODEL_LAYER_GROUPS_H_

#include <cstdint>
#include <vector>

#include "reduce/reduction.h"

namespace pith {

// Layers [begin, end); what is done after them.
struct LayerGroup {
  int64_t begin = 0;
  int64_t end = 0;
  int site = -1;      // index of the site that reduces after the group; −1: none
  bool skim = false;  // far rows only write state

  int64_t layers() const { return end - begin; }
};

// Cut at the sites of a removal (that before the first layer is ahead of all groups; the last group
// is empty where the last layer is a site), at the borders of skimmed layers, or not at all.
std::vector<LayerGroup> GroupLayers(int64_t n_layer, const CompiledReduction* reduction);

}  // namespace pith

#endif  // PITH_MODEL_LAYER_GROUPS_H_
