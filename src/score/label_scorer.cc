#include "score/label_scorer.h"

#include "core/error.h"

namespace pith {

std::vector<LabelScore> LabelScorer::Score(MatView<const float> normed,
                                           std::span<const int32_t> labels) {
  PITH_CHECK(normed.rows == static_cast<int64_t>(labels.size()));
  std::vector<LabelScore> scores(labels.size());
  ScoreHead(exec_,
            {.x = normed, .w = model_.head(), .labels = labels, .logits = &logits_, .out = scores});
  return scores;
}

}  // namespace pith
