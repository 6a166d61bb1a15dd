// The far rows of texts under skim: what they write into the states of layers.
#ifndef PITH_MODEL_FAR_ROWS_H_
#define PITH_MODEL_FAR_ROWS_H_

#include <cstdint>
#include <span>
#include <vector>

#include "model/layer.h"
#include "model/layer_groups.h"
#include "model/model.h"
#include "model/state_pool.h"
#include "ops/far_layers.h"
#include "ops/far_region.h"
#include "ops/horizon.h"

namespace pith {

// What the masks of a layer's heads [heads · chunks], one after the other, stand for.
FarWritten CountWrites(const LayerWork& work, const FarRegion& region,
                       std::span<const uint8_t> needed);

// Texts whose far rows were written into all layers of a group in one call. What was written is not
// waited for.
struct FarTogether {
  LayerGroup group;
  std::vector<size_t> texts;       // which of those that were offered
  std::vector<FarRegion> regions;  // theirs
  DeviceMat<uint8_t> needed;       // their masks, as FarLayersArgs has them
};

// Layer::WriteFar of texts, all of whose rows stand before the group's first layer, for all layers
// of the group at once. Takes the texts for which the backend has an operator, maybe none.
FarTogether WriteFarTogether(const LayerContext& context, const Model& model,
                             const LayerGroup& group, StatePool& pool, const Horizon& horizon,
                             std::span<const FarText> texts);

// For each text that was taken, what each layer of the group wrote. Waits for the backend.
std::vector<std::vector<FarWritten>> CountTogether(const Exec& exec, const Model& model,
                                                   const FarTogether& far);

}  // namespace pith

#endif  // PITH_MODEL_FAR_ROWS_H_
