#include "score/label_scorer.h"

#include <algorithm>

#include "core/error.h"

namespace pith {
namespace {

constexpr int64_t kBlockRows = 256;

}  // namespace

std::vector<LabelScore> LabelScorer::Score(MatView<const float> normed,
                                           std::span<const int32_t> labels) {
  PITH_CHECK(normed.rows == static_cast<int64_t>(labels.size()));
  std::vector<LabelScore> scores(labels.size());
  for (int64_t begin = 0; begin < normed.rows; begin += kBlockRows) {
    const int64_t count = std::min(kBlockRows, normed.rows - begin);
    logits_.Resize(exec_, count, model_.config().vocab_size);
    model_.Logits(exec_, normed.Rows(begin, count), logits_.view());
    ScoreLabels(exec_, logits_.view(), labels.subspan(begin, count),
                std::span(scores).subspan(begin, count));
  }
  return scores;
}

}  // namespace pith
