// Activate: bound by memory. A thread reads what it writes, so results may replace inputs.
#include "ops/activation.h"

#include "backends/cuda/kernels.h"
#include "backends/cuda/launch.cuh"

namespace pith::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kPiece = 4 * kThreads;  // columns a block

// Φ(−|x|) = erfcx(|x| / √2) e^(−x²/2) / 2. Scaled thus, rounding |x| / √2 costs one rounding of the
// result at most, while erfc's own tail would lose x² of them.
__device__ float Gelu(float x) {
  constexpr float kSqrtHalf = 0.70710678F;
  const float beyond = 0.5F * erfcxf(kSqrtHalf * fabsf(x)) * expf(-0.5F * x * x);
  return x * (x < 0 ? beyond : 1 - beyond);
}

__device__ float Activated(Activation activation, float x) {
  if (activation == Activation::kSilu) return Silu(x);
  if (activation == Activation::kGelu) return Gelu(x);
  const float positive = x < 0 ? 0 : x;  // NaN stays
  return positive * positive;
}

__global__ void ActivateKernel(Activation activation, Rows<const float> gate, Rows<const float> up,
                               Rows<float> out, int64_t cols, unsigned pieces) {
  const int64_t row = blockIdx.x / pieces;
  const int64_t begin = blockIdx.x % pieces * kPiece;
  const int64_t end = min(cols, begin + kPiece);
  for (int64_t c = begin + threadIdx.x; c < end; c += kThreads) {
    const float v = Activated(activation, gate[row][c]);
    out[row][c] = up.data == nullptr ? v : v * up[row][c];
  }
}

}  // namespace

void Activate(const Exec& exec, const ActivateArgs& args) {
  const unsigned pieces = Blocks(args.out.cols, kPiece);
  const MatView<const float> up = args.up.empty() ? MatView<const float>() : args.up;
  Launch(exec, ActivateKernel, Blocks(args.out.rows * pieces, 1), kThreads, 0, args.activation,
         args.gate, up, args.out, args.out.cols, pieces);
}

}  // namespace pith::cuda
