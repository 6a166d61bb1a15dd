// The far rows of one sequence under skim: what they write into the states of layers.
#ifndef PITH_MODEL_FAR_ROWS_H_
#define PITH_MODEL_FAR_ROWS_H_

#include <cstdint>
#include <span>
#include <vector>

#include "model/layer.h"
#include "model/layer_groups.h"
#include "model/model.h"
#include "model/state_pool.h"
#include "ops/far_region.h"
#include "ops/horizon.h"

namespace pith {

// What the masks of a layer's heads [heads · chunks], one after the other, stand for.
FarWritten CountWrites(const LayerWork& work, const FarRegion& region,
                       std::span<const uint8_t> needed);

// The far rows of the sequence in `slot`, all of them before the group's first layer, in all layers
// of the group.
struct FarRows {
  FarRegion region;             // far > 0
  MatView<const float> stream;  // [far, d_model]
  Horizon horizon;
  int32_t slot = 0;
};

// Layer::WriteFar for all layers of a group at once, where the backend has an operator for these
// layers; one result a layer. Elsewhere nothing happens, and there are none.
std::vector<FarWritten> WriteFarTogether(const LayerContext& context, const Model& model,
                                         const LayerGroup& group, StatePool& pool,
                                         const FarRows& rows);

}  // namespace pith

#endif  // PITH_MODEL_FAR_ROWS_H_
