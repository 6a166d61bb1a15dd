// Thresholds for LTMP from a text.
#ifndef PITH_MODEL_CALIBRATE_LTMP_H_
#define PITH_MODEL_CALIBRATE_LTMP_H_

#include <span>
#include <vector>

#include "model/prefill.h"
#include "reduce/ltmp.h"
#include "reduce/spec.h"

namespace pith {

// Per site, in order, so that over all `texts` together the share of rows that `spec` asks for
// goes, half by merging and half by pruning: the thresholds of earlier sites hold at later ones.
// `spec` is an ltmp without thresholds, `sites` overrides its sites; texts are contexts, as they
// would be read. Costs one forward a site. Throws kInvalidArgument for another method, for blocks,
// and for no text.
LtmpThresholds CalibrateLtmp(const Model& model, const Exec& exec, const ReductionSpec& spec,
                             const std::vector<int>& sites,
                             std::span<const std::vector<int32_t>> texts,
                             const PrefillOptions& options);

}  // namespace pith

#endif  // PITH_MODEL_CALIBRATE_LTMP_H_
