#include "ops/scan_features.h"

#include <cmath>

#include "backends/cpu/kernels.h"
#include "core/parallel.h"
#include "ops/softplus.h"

namespace pith::cpu {
namespace {

float Norm(const float* v, int64_t n) {
  double square = 0;
  for (int64_t i = 0; i < n; ++i) square += static_cast<double>(v[i]) * v[i];
  return static_cast<float>(std::sqrt(square));
}

}  // namespace

void ScanFeatures(const Exec& exec, const ScanFeaturesArgs& args) {
  const int64_t units = args.shape.units;
  const int64_t bc = args.shape.bc_width();
  const int64_t width = args.x.cols / units;
  // An exponential and a logarithm a unit cost some 64 steps.
  const int threads = ThreadsFor(exec, args.out.rows * (64 * units + args.x.cols));
  ParallelFor(threads, args.out.rows, [&](int64_t r) {
    float* const out = args.out.Row(r);
    for (int64_t u = 0; u < units; ++u) {
      const double delta = Softplus(static_cast<double>(args.dt.Row(r)[u]) + args.dt_bias.data[u]);
      out[u] = static_cast<float>(std::clamp<double>(delta, args.dt_min, args.dt_max));
      out[units + u] = Norm(args.x.Row(r) + u * width, width);
    }
    std::copy_n(args.b.Row(r), bc, out + 2 * units);
    std::copy_n(args.c.Row(r), bc, out + 2 * units + bc);
  });
}

}  // namespace pith::cpu
