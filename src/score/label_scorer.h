// Scores labels against rows of the last layer without ever holding all logits.
#ifndef PITH_SCORE_LABEL_SCORER_H_
#define PITH_SCORE_LABEL_SCORER_H_

#include <cstdint>
#include <span>
#include <vector>

#include "core/exec.h"
#include "core/tensor.h"
#include "model/model.h"
#include "ops/log_softmax.h"

namespace pith {

class LabelScorer {
 public:
  LabelScorer(const Model& model, const Exec& exec) : model_(model), exec_(exec) {}

  // labels[i] is the token after normalised row i [rows, d_model], which the
  // backend holds. Memory: 256 rows of logits, or what the backend's own kernel holds.
  std::vector<LabelScore> Score(MatView<const float> normed, std::span<const int32_t> labels);

 private:
  const Model& model_;
  Exec exec_;
  DeviceMat<float> logits_;
};

}  // namespace pith

#endif  // PITH_SCORE_LABEL_SCORER_H_
