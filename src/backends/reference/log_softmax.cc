#include <algorithm>

#include "backends/reference/kernels.h"

namespace pith::reference {

void ScoreLabels(const Exec&, MatView<const float> logits, std::span<const int32_t> labels,
                 std::span<LabelScore> out) {
  for (int64_t i = 0; i < logits.rows; ++i) {
    const float* row = logits.Row(i);
    const float* top = std::max_element(row, row + logits.cols);  // the first of equals
    double sum = 0;
    for (int64_t j = 0; j < logits.cols; ++j) {
      sum += std::exp(static_cast<double>(row[j]) - *top);
    }
    const double log_sum = std::log(sum);
    out[i].logprob = static_cast<float>(static_cast<double>(row[labels[i]]) - *top - log_sum);
    out[i].top_logprob = static_cast<float>(-log_sum);
    out[i].top = static_cast<int32_t>(top - row);
  }
}

}  // namespace pith::reference
