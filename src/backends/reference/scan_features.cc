#include "ops/scan_features.h"

#include <algorithm>

#include "backends/reference/kernels.h"

namespace pith::reference {

void ScanFeatures(const Exec& /*exec*/, const ScanFeaturesArgs& args) {
  const int64_t units = args.shape.units;
  const int64_t bc = args.shape.bc_width();
  const int64_t width = args.x.cols / units;
  for (int64_t r = 0; r < args.out.rows; ++r) {
    float* const out = args.out.Row(r);
    for (int64_t u = 0; u < units; ++u) {
      const double raw = static_cast<double>(args.dt.Row(r)[u]) + args.dt_bias.data[u];
      out[u] = static_cast<float>(std::clamp<double>(Softplus(raw), args.dt_min, args.dt_max));
      double square = 0;
      for (int64_t p = u * width; p < (u + 1) * width; ++p) {
        square += static_cast<double>(args.x.Row(r)[p]) * args.x.Row(r)[p];
      }
      out[units + u] = static_cast<float>(std::sqrt(square));
    }
    for (int64_t n = 0; n < bc; ++n) {
      out[2 * units + n] = args.b.Row(r)[n];
      out[2 * units + bc + n] = args.c.Row(r)[n];
    }
  }
}

}  // namespace pith::reference
