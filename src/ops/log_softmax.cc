#include "ops/log_softmax.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "ops/backend.h"
#include "ops/checks.h"
#include "ops/kernels.h"
#include "ops/linear.h"

namespace pith {
namespace {

constexpr int64_t kHeadRows = 256;  // whose logits are held at once

void CheckLabels(std::span<const int32_t> labels, int64_t vocab) {
  PITH_CHECK(labels.empty() || vocab > 0);
  for (const int32_t label : labels) PITH_CHECK(label >= 0 && label < vocab);
}

}  // namespace

void ScoreLabels(const Exec& exec, MatView<const float> logits, std::span<const int32_t> labels,
                 std::span<LabelScore> out) {
  CheckMatrix(logits, static_cast<int64_t>(labels.size()), logits.cols);
  PITH_CHECK(out.size() == labels.size());
  CheckLabels(labels, logits.cols);
  if (labels.empty()) return;
  KernelsFor(exec).score_labels(exec, logits, labels, out);
}

std::vector<int32_t> LargestLogits(const Exec& exec, MatView<const float> logits, int64_t count) {
  CheckMatrix(logits, 1, logits.cols);
  PITH_CHECK(count >= 0);
  std::vector<float> row(logits.cols);
  DownloadRows(exec, logits, {row.data(), 1, logits.cols});
  std::vector<int32_t> ids(row.size());
  std::iota(ids.begin(), ids.end(), 0);
  const auto end = ids.begin() + std::min<int64_t>(count, logits.cols);
  std::partial_sort(ids.begin(), end, ids.end(), [&](int32_t a, int32_t b) {
    return row[a] > row[b] || (row[a] == row[b] && a < b);
  });
  ids.erase(end, ids.end());
  return ids;
}

namespace composed {

void ScoreHead(const Exec& exec, const ScoreHeadArgs& args) {
  for (int64_t begin = 0; begin < args.x.rows; begin += kHeadRows) {
    const int64_t count = std::min(kHeadRows, args.x.rows - begin);
    args.logits->Resize(exec, count, args.w.rows);
    Linear(exec, args.x.Rows(begin, count), args.w, {}, args.logits->view());
    ScoreLabels(exec, args.logits->view(), args.labels.subspan(begin, count),
                args.out.subspan(begin, count));
  }
}

}  // namespace composed

void ScoreHead(const Exec& exec, const ScoreHeadArgs& args) {
  CheckMatrix(args.x, static_cast<int64_t>(args.labels.size()), args.w.cols);
  PITH_CHECK(args.out.size() == args.labels.size() && args.logits != nullptr);
  CheckLabels(args.labels, args.w.rows);
  if (args.labels.empty()) return;
  const auto kernel = KernelsFor(exec).score_head;
  (kernel != nullptr ? kernel : composed::ScoreHead)(exec, args);
}

}  // namespace pith
