// `auto@N%`: the reduction that our study supports for a model type and a length of context.
#ifndef PITH_REDUCE_AUTO_H_
#define PITH_REDUCE_AUTO_H_

#include <cstdint>

#include "load/model_config.h"
#include "reduce/spec.h"

namespace pith {

inline bool IsAuto(const ReductionSpec& spec) { return spec.method == "auto"; }

// The skim, or on Mamba-1 the span-drop, that `auto@N%` stands for in a context of `tokens`
// (docs/reductions.md has the rules). A context that is too short for N gets the most that the
// study supports at its length, down to `none`: that shows in the realised reduction. `spec` is an
// `auto`. Throws kInvalidArgument without N, with options, and for more than the study supports at
// any length, naming that.
ReductionSpec ResolveAuto(const ReductionSpec& spec, const ModelConfig& config, int64_t tokens);

}  // namespace pith

#endif  // PITH_REDUCE_AUTO_H_
