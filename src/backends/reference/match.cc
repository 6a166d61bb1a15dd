#include "ops/match.h"

#include <algorithm>
#include <vector>

#include "backends/reference/kernels.h"

namespace pith::reference {
namespace {

// 1 / ‖row‖; 0 where the row counts as zero.
double Inverse(const MatView<const float>& features, int64_t row) {
  double square = 0;
  for (int64_t c = 0; c < features.cols; ++c) {
    square += static_cast<double>(features.Row(row)[c]) * features.Row(row)[c];
  }
  return std::isfinite(square) ? 1 / std::max(std::sqrt(square), 1e-12) : 0;
}

}  // namespace

void BestMatches(const Exec& /*exec*/, const MatchArgs& args) {
  std::vector<double> inverse;
  for (const int32_t target : args.targets) inverse.push_back(Inverse(args.features, target));
  for (size_t i = 0; i < args.sources.size(); ++i) {
    const float* const source = args.features.Row(args.sources[i]);
    const double own = Inverse(args.features, args.sources[i]);
    for (int64_t j = args.candidates[i].begin; j < args.candidates[i].end; ++j) {
      const float* const target = args.features.Row(args.targets[j]);
      double dot = 0;
      for (int64_t c = 0; c < args.features.cols; ++c) {
        dot += static_cast<double>(source[c]) * target[c];
      }
      const bool zero = own == 0 || inverse[j] == 0;
      // Rounded before it is compared, so that what ties in exact arithmetic ties here.
      const auto similarity = static_cast<float>(zero ? 0 : dot * own * inverse[j]);
      if (similarity > args.best[i].similarity) args.best[i] = {args.targets[j], similarity};
    }
  }
}

}  // namespace pith::reference
