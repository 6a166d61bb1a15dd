#include "model/head.h"

#include "ops/linear.h"
#include "ops/norm.h"

namespace pith {

void FinalNorm(const Model& model, const Exec& exec, MatView<float> rows) {
  const ModelWeights& w = model.weights();
  AddNorm(exec, {.x = rows,
                 .weight = w.norm_f_weight.data(),
                 .bias = w.norm_f_bias.empty() ? nullptr : w.norm_f_bias.data(),
                 .layer_norm = w.config.layer_norm,
                 .eps = w.config.norm_eps,
                 .out = rows});
}

void Logits(const Model& model, const Exec& exec, MatView<const float> normed,
            MatView<float> logits) {
  Linear(exec, normed, model.weights().lm_head, nullptr, logits);
}

void StepLogits(const Model& model, const Exec& exec, MatView<const float> normed,
                MatView<float> logits) {
  LinearStep(exec, normed, model.weights().lm_head, nullptr, logits);
}

}  // namespace pith
