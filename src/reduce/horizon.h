// Which writes of far tokens arrive at the end of the far region.
#ifndef PITH_REDUCE_HORIZON_H_
#define PITH_REDUCE_HORIZON_H_

#include <cstdint>
#include <span>
#include <vector>

#include "reduce/skim.h"

namespace pith {

// One head of one layer: decay and mass [chunks] as FarWeights (ops/far_weights.h) gives them → 1
// where the chunk is written, else 0. Of equal masses the earlier chunk goes first.
std::vector<uint8_t> NeededChunks(const Horizon& horizon, std::span<const double> decay,
                                  std::span<const double> mass);

}  // namespace pith

#endif  // PITH_REDUCE_HORIZON_H_
