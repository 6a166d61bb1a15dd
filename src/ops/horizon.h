// Which writes of far tokens arrive at the end of the far region.
#ifndef PITH_OPS_HORIZON_H_
#define PITH_OPS_HORIZON_H_

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace pith {

// Which writes of far tokens are made. A write counts for a (layer, head, chunk) with decay D from
// the chunk's end to the end of the far tokens and mass m = Σ_t Δ_t · decay from t to the chunk's
// end.
struct Horizon {
  double threshold = 0;        // made where D ≥ threshold; 0: all
  std::optional<double> mass;  // instead: the least m·D are left out while they sum to at most this
                               // share of the head's total in its layer
};

// One head of one layer: decay and mass [chunks] as FarWeights (ops/far_weights.h) gives them → 1
// where the chunk is written, else 0. Of equal masses the earlier chunk goes first.
std::vector<uint8_t> NeededChunks(const Horizon& horizon, std::span<const double> decay,
                                  std::span<const double> mass);

}  // namespace pith

#endif  // PITH_OPS_HORIZON_H_
