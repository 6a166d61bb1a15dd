#include "ops/far_weights.h"

#include "ops/checks.h"
#include "ops/kernels.h"

namespace pith {

void FarWeights(const Exec& exec, const FarWeightsArgs& args) {
  const int64_t far = args.region.far;
  const int64_t heads = args.dt.cols;
  PITH_CHECK(far > 0 && args.region.chunk > 0 && heads > 0);
  PITH_CHECK(args.dt_min >= 0 && args.dt_min <= args.dt_max);
  CheckMatrix(args.dt, far, heads);
  CheckVector(args.dt_bias, heads);
  CheckVector(args.a, heads);
  CheckMatrix(args.weight, heads, far);
  CheckVector(args.decay, heads);
  const int64_t pairs = heads * CountChunks(args.region);
  PITH_CHECK(static_cast<int64_t>(args.chunk_decay.size()) == pairs);
  PITH_CHECK(static_cast<int64_t>(args.chunk_mass.size()) == pairs);
  KernelsFor(exec.device).far_weights(exec, args);
}

}  // namespace pith
