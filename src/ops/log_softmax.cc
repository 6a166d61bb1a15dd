#include "ops/log_softmax.h"

#include "ops/checks.h"
#include "ops/kernels.h"

namespace pith {

void ScoreLabels(const Exec& exec, MatView<const float> logits, std::span<const int32_t> labels,
                 std::span<LabelScore> out) {
  CheckMatrix(logits, static_cast<int64_t>(labels.size()), logits.cols);
  PITH_CHECK(out.size() == labels.size());
  PITH_CHECK(labels.empty() || logits.cols > 0);
  for (const int32_t label : labels) PITH_CHECK(label >= 0 && label < logits.cols);
  if (labels.empty()) return;
  KernelsFor(exec).score_labels(exec, logits, labels, out);
}

}  // namespace pith
