// What scoring reads off a row of logits.
#ifndef PITH_OPS_LOG_SOFTMAX_H_
#define PITH_OPS_LOG_SOFTMAX_H_

#include <cstdint>
#include <span>

#include "core/exec.h"
#include "core/tensor.h"

namespace pith {

struct LabelScore {
  float logprob = 0;      // log softmax(logits)[label], nats
  float top_logprob = 0;  // the largest log-probability; the same float where the label holds it
  int32_t top = 0;        // its index; ties go to the lower one
};

// Scores labels[i] against logits row i. logits [rows, vocab]; labels in [0, vocab).
// The exponentials are summed in f32 or wider: error of the result ≤ 1e-6 · (1 + |logprob|).
void ScoreLabels(const Exec& exec, MatView<const float> logits, std::span<const int32_t> labels,
                 std::span<LabelScore> out);

}  // namespace pith

#endif  // PITH_OPS_LOG_SOFTMAX_H_
