#include "ops/far_weights.h"

#include <cmath>

#include "backends/cpu/kernels.h"
#include "core/parallel.h"
#include "ops/softplus.h"

namespace pith::cpu {

void FarWeights(const Exec& exec, const FarWeightsArgs& args) {
  const int64_t heads = args.dt.cols;
  const int64_t chunks = CountChunks(args.region);
  // Two exponentials and a logarithm a row and head cost some 64 steps.
  ParallelFor(ThreadsFor(exec, 64 * heads * args.region.far), heads, [&](int64_t h) {
    float* const weight = args.weight.Row(h);
    double sum = 0;
    for (int64_t c = chunks - 1; c >= 0; --c) {
      const RowRun rows = ChunkRows(args.region, c);
      args.chunk_decay[h * chunks + c] = std::exp(sum);
      for (int64_t t = rows.end - 1; t >= rows.begin; --t) {
        const float dt = std::clamp(Softplus(args.dt.Row(t)[h] + args.dt_bias.data[h]), args.dt_min,
                                    args.dt_max);
        weight[t] = static_cast<float>(dt * std::exp(sum));
        sum += static_cast<double>(dt) * args.a.data[h];
      }
      double mass = 0;
      for (int64_t t = rows.begin; t < rows.end; ++t) mass += weight[t];
      args.chunk_mass[h * chunks + c] = mass;
    }
    args.decay.data[h] = static_cast<float>(std::exp(sum));
  });
}

}  // namespace pith::cpu
