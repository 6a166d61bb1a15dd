// One token more for each sequence.
#ifndef PITH_MODEL_STEP_H_
#define PITH_MODEL_STEP_H_

#include <cstdint>
#include <span>

#include "core/exec.h"
#include "core/tensor.h"
#include "model/model.h"
#include "model/state_pool.h"
#include "model/workspace.h"

namespace pith {

// Reads ids[i] into sequences[i] by the recurrence and writes the logits that follow it to row i of
// logits [ids.size(), vocab]. Never reduces. Agrees with Prefill to rounding; a row's result does
// not depend on the other rows. `rows` is scratch: with the same number of sequences as before,
// nothing is allocated.
void Step(const Model& model, const Exec& exec, StatePool& pool, std::span<const int32_t> ids,
          std::span<Sequence* const> sequences, Workspace& ws, LayerRows& rows,
          MatView<float> logits);

}  // namespace pith

#endif  // PITH_MODEL_STEP_H_
