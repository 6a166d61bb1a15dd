#include "ops/importance.h"

#include "backends/reference/kernels.h"

namespace pith::reference {
namespace {

double Term(ImportanceKind kind, double v) {
  switch (kind) {
    case ImportanceKind::kClip:
      return v < 0 ? 0 : v;  // NaN stays NaN
    case ImportanceKind::kL1:
      return std::fabs(v);
    case ImportanceKind::kL2:
      return v * v;
    default:
      return v;
  }
}

}  // namespace

void RowImportance(const Exec& /*exec*/, ImportanceKind kind, MatView<const float> activations,
                   VecView<float> importance) {
  for (int64_t t = 0; t < activations.rows; ++t) {
    double sum = 0;
    for (int64_t c = 0; c < activations.cols; ++c) sum += Term(kind, activations.Row(t)[c]);
    const double mean = sum / static_cast<double>(activations.cols);
    importance.data[t] = static_cast<float>(kind == ImportanceKind::kL2 ? std::sqrt(mean) : mean);
  }
}

}  // namespace pith::reference
