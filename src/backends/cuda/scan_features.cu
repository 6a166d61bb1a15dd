#include "ops/scan_features.h"

#include "backends/cuda/kernels.h"
#include "backends/cuda/launch.cuh"
#include "backends/cuda/step_size.cuh"

namespace pith::cuda {
namespace {

constexpr int kThreads = 256;

struct Inputs {
  Rows<const float> dt;
  const float* dt_bias;
  float dt_min, dt_max;
  Rows<const float> x, b, c;
  int64_t units, width, bc;
};

// ‖x‖ over each unit's width: a warp a unit, or a thread where units are narrower than a warp.
__device__ void Norms(const float* x, int64_t units, int64_t width, float* out) {
  const int lanes = width < 32 ? 1 : 32;
  const int lane = threadIdx.x % lanes;
  for (int64_t u = threadIdx.x / lanes; u < units; u += kThreads / lanes) {
    double square = 0;
    for (int64_t p = lane; p < width; p += lanes) {
      const double v = x[u * width + p];
      square += v * v;
    }
    if (lanes == 32) square = WarpSum(square);
    if (lane == 0) out[u] = static_cast<float>(sqrt(square));
  }
}

// A block a row.
__global__ void Features(Inputs in, Rows<float> out) {
  const int64_t row = blockIdx.x;
  float* const to = out[row];
  for (int64_t u = threadIdx.x; u < in.units; u += kThreads) {
    to[u] = static_cast<float>(StepSize(in.dt[row][u], in.dt_bias[u], in.dt_min, in.dt_max));
  }
  Norms(in.x[row], in.units, in.width, to + in.units);
  for (int64_t n = threadIdx.x; n < in.bc; n += kThreads) {
    to[2 * in.units + n] = in.b[row][n];
    to[2 * in.units + in.bc + n] = in.c[row][n];
  }
}

}  // namespace

void ScanFeatures(const Exec& exec, const ScanFeaturesArgs& args) {
  const int64_t units = args.shape.units;
  const Inputs in{
      args.dt, args.dt_bias.data,   args.dt_min,          args.dt_max, args.x, args.b, args.c,
      units,   args.x.cols / units, args.shape.bc_width()};
  Launch(exec, Features, Blocks(args.out.rows, 1), kThreads, 0, in, args.out);
}

}  // namespace pith::cuda
