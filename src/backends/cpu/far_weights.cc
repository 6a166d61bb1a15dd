// FarWeights: vectors of a head's rows for what is costly, the step sizes and the exponentials, and
// between them one chain of sums in double.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/far_weights.cc"
#include <hwy/foreach_target.h>
// Highway wants its headers after foreach_target.h.
#include "ops/far_weights.h"

#include <algorithm>
#include <cmath>

#include "backends/cpu/kernels.h"
#include "backends/cpu/math-inl.h"
#include "core/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace pith::cpu::HWY_NAMESPACE {

// Rows whose sums wait for their exponentials.
constexpr int64_t kRowsTogether = 256;
// Sums below it are taken for it: their exponentials are 0 in f32, and infinities stay out.
constexpr double kLeastSum = -200;

// weight[t] = Δ_t.
void StepSizes(const FarWeightsArgs& args, int64_t h, float* weight) {
  const float bias = args.dt_bias.data[h];
  for (int64_t t = 0; t < args.region.far; ++t) weight[t] = args.dt.Row(t)[h] + bias;
  ForVectors(args.region.far, [&](auto d, int64_t i) HWY_ATTR {
    hn::StoreU(StepSize(d, hn::LoadU(d, weight + i), args.dt_min, args.dt_max), d, weight + i);
  });
}

// weight[t] ← Δ_t · exp(T(t)) for rows [begin, end), no more than kRowsTogether, and `sum` goes on
// from T(end − 1) to T(begin − 1). A sum is two floats, of which the second is small.
void Decay(float a, int64_t begin, int64_t end, float* weight, double& sum) {
  HWY_ALIGN float high[kRowsTogether];
  HWY_ALIGN float low[kRowsTogether];
  for (int64_t t = end - 1; t >= begin; --t) {
    const double bounded = std::max(sum, kLeastSum);  // NaN stays NaN
    high[t - begin] = static_cast<float>(bounded);
    low[t - begin] = static_cast<float>(bounded - high[t - begin]);
    sum += static_cast<double>(weight[t]) * a;
  }
  ForVectors(end - begin, [&](auto d, int64_t i) HWY_ATTR {
    const auto dt = hn::LoadU(d, weight + begin + i);
    const auto scaled = hn::MulAdd(dt, hn::LoadU(d, low + i), dt);
    hn::StoreU(hn::Mul(scaled, FastExp(d, hn::LoadU(d, high + i))), d, weight + begin + i);
  });
}

void WeighHead(const FarWeightsArgs& args, int64_t h) {
  const int64_t chunks = CountChunks(args.region);
  float* const weight = args.weight.Row(h);
  StepSizes(args, h, weight);
  double sum = 0;
  for (int64_t c = chunks - 1; c >= 0; --c) {
    const RowRun rows = ChunkRows(args.region, c);
    args.chunk_decay[h * chunks + c] = std::exp(sum);
    for (int64_t end = rows.end; end > rows.begin; end -= kRowsTogether) {
      Decay(args.a.data[h], std::max(rows.begin, end - kRowsTogether), end, weight, sum);
    }
    double mass = 0;
    for (int64_t t = rows.begin; t < rows.end; ++t) mass += weight[t];
    args.chunk_mass[h * chunks + c] = mass;
  }
  args.decay.data[h] = static_cast<float>(std::exp(sum));
}

void RunFarWeights(const Exec& exec, const FarWeightsArgs& args) {
  const int64_t heads = args.dt.cols;
  // Two exponentials and a logarithm a row and head cost some 8 steps.
  ParallelFor(ThreadsFor(exec, 8 * heads * args.region.far), heads,
              [&](int64_t h) { WeighHead(args, h); });
}

}  // namespace pith::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pith::cpu {

HWY_EXPORT(RunFarWeights);

void FarWeights(const Exec& exec, const FarWeightsArgs& args) {
  HWY_DYNAMIC_DISPATCH(RunFarWeights)(exec, args);
}

}  // namespace pith::cpu
#endif
