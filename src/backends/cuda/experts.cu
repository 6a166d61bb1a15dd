// AddScaledRows: a block a row.
#include "ops/experts.h"

#include "backends/cuda/kernels.h"
#include "backends/cuda/launch.cuh"

namespace pith::cuda {
namespace {

constexpr int kThreads = 256;

__global__ void AddScaledKernel(Rows<const float> x, const int32_t* rows, const float* weights,
                                Rows<float> out, int64_t cols) {
  const float* const from = x[blockIdx.x];
  float* const to = out[rows[blockIdx.x]];
  const float weight = weights[blockIdx.x];
  for (int64_t c = threadIdx.x; c < cols; c += kThreads) to[c] = fmaf(weight, from[c], to[c]);
}

}  // namespace

void AddScaledRows(const Exec& exec, const AddScaledRowsArgs& args) {
  Launch(exec, AddScaledKernel, static_cast<unsigned>(args.x.rows), kThreads, 0, args.x,
         args.rows.data, args.weights.data, args.out, args.x.cols);
}

}  // namespace pith::cuda
