// One token more for each sequence.
#ifndef PITH_MODEL_STEP_H_
#define PITH_MODEL_STEP_H_

#include <cstdint>
#include <span>

#include "core/exec.h"
#include "core/tensor.h"
#include "model/model.h"
#include "model/state.h"
#include "model/workspace.h"

namespace pith {

// Reads ids[i] into states[i] by the recurrence and writes the logits that follow it to row i of
// logits [ids.size(), vocab]. Never reduces. Agrees with Prefill to rounding; a row's result does
// not depend on the other rows.
void Step(const Model& model, const Exec& exec, std::span<const int32_t> ids,
          std::span<SequenceState* const> states, Workspace& ws, MatView<float> logits);

}  // namespace pith

#endif  // PITH_MODEL_STEP_H_
