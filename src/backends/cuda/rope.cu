// Rope: a block turns the heads of one row. Angles are brought to [−π, π] in double, where nothing
// is lost at any position.
#include "ops/rope.h"

#include "backends/cuda/kernels.h"
#include "backends/cuda/launch.cuh"

namespace pith::cuda {
namespace {

constexpr int kThreads = 128;

struct RopeView {
  Rows<float> x;
  const int32_t* positions;
  const double* frequencies;
  int64_t pairs, n_heads, head_dim;
  float factor;
  bool half;
};

__global__ void RopeKernel(RopeView args) {
  constexpr double kTurn = 6.283185307179586476925286766559;
  const int64_t row = blockIdx.x;
  for (int64_t i = threadIdx.x; i < args.pairs; i += kThreads) {
    const double angle = args.positions[row] * args.frequencies[i];
    float sine, cosine;
    sincosf(static_cast<float>(angle - kTurn * rint(angle * (1 / kTurn))), &sine, &cosine);
    sine = __fmul_rn(args.factor, sine);
    cosine = __fmul_rn(args.factor, cosine);
    for (int64_t h = 0; h < args.n_heads; ++h) {
      float* const x = args.x[row] + h * args.head_dim;
      float& first = x[args.half ? i : 2 * i];
      float& second = x[args.half ? i + args.pairs : 2 * i + 1];
      const float a = first, b = second;
      first = fmaf(-b, sine, __fmul_rn(a, cosine));
      second = fmaf(a, sine, __fmul_rn(b, cosine));
    }
  }
}

}  // namespace

void Rope(const Exec& exec, const RopeArgs& args) {
  const RopeView view = {.x = args.x,
                         .positions = Place(exec, args.positions),
                         .frequencies = Place(exec, args.frequencies),
                         .pairs = static_cast<int64_t>(args.frequencies.size()),
                         .n_heads = args.n_heads,
                         .head_dim = args.head_dim,
                         .factor = args.factor,
                         .half = args.pairing == RopePairing::kHalf};
  Launch(exec, RopeKernel, static_cast<unsigned>(args.x.rows), kThreads, 0, view);
}

}  // namespace pith::cuda
