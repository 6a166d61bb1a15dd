// Far rows in a layer that skims them: their stream stays as it is, and they only write state.
#ifndef PITH_MODEL_FAR_H_
#define PITH_MODEL_FAR_H_

#include <cstdint>
#include <span>
#include <vector>

#include "model/block.h"
#include "reduce/horizon.h"
#include "reduce/skim.h"

namespace pith {

// What one layer wrote of a far region.
struct FarWritten {
  double work = 0;                           // FLOPs, as LayerWork counts
  std::vector<std::vector<uint8_t>> needed;  // [n_heads][chunks]; empty for Mamba-1
};

// stream [far, d_model]: T, the rows as the layer finds them. Updates the layer's convolution and
// SSM state as if the far rows had passed it, but for the writes that the horizon leaves out; their
// decay stays exact. Scratch: ws.far_*, linear in `far`, and a bounded part a thread.
FarWritten WriteFar(const BlockContext& context, int64_t layer, MatView<const float> stream,
                    const FarRegion& region, const Horizon& horizon, SequenceState& state);

// WriteFar for Mamba-2, whose normalised far rows stand in ws.far_normed.
FarWritten WriteFarMamba2(const BlockContext& context, int64_t layer, const FarRegion& region,
                          const Horizon& horizon, SequenceState& state);

}  // namespace pith

#endif  // PITH_MODEL_FAR_H_
