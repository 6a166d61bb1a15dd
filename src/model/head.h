// From the last layer's rows to logits.
#ifndef PITH_MODEL_HEAD_H_
#define PITH_MODEL_HEAD_H_

#include "core/exec.h"
#include "core/tensor.h"
#include "model/model.h"

namespace pith {

// The norm before the head, in place: rows [n, d_model].
void FinalNorm(const Model& model, const Exec& exec, MatView<float> rows);

// Logits of many normalised rows: [n, d_model] → [n, vocab].
void Logits(const Model& model, const Exec& exec, MatView<const float> normed,
            MatView<float> logits);

// The same for few rows, whose cost is reading the head once. Equal to rounding.
void StepLogits(const Model& model, const Exec& exec, MatView<const float> normed,
                MatView<float> logits);

}  // namespace pith

#endif  // PITH_MODEL_HEAD_H_
