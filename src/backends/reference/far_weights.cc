#include "ops/far_weights.h"

#include <algorithm>

#include "backends/reference/kernels.h"

namespace pith::reference {

void FarWeights(const Exec& /*exec*/, const FarWeightsArgs& args) {
  const int64_t chunks = CountChunks(args.region);
  for (int64_t h = 0; h < args.dt.cols; ++h) {
    double after = 0;
    for (int64_t c = chunks - 1; c >= 0; --c) {
      const RowRun rows = ChunkRows(args.region, c);
      double mass = 0;
      args.chunk_decay[h * chunks + c] = std::exp(after);
      for (int64_t t = rows.end - 1; t >= rows.begin; --t) {
        const double raw = static_cast<double>(args.dt.Row(t)[h]) + args.dt_bias.data[h];
        const double dt = std::clamp<double>(Softplus(raw), args.dt_min, args.dt_max);
        const double weight = dt * std::exp(after);
        args.weight.Row(h)[t] = static_cast<float>(weight);
        mass += weight;
        after += dt * args.a.data[h];
      }
      args.chunk_mass[h * chunks + c] = mass;
    }
    args.decay.data[h] = static_cast<float>(std::exp(after));
  }
}

}  // namespace pith::reference
