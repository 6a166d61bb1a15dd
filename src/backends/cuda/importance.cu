#include "ops/importance.h"

#include "backends/cuda/kernels.h"
#include "backends/cuda/launch.cuh"

namespace pith::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kRowsPerBlock = kThreads / 32;

__device__ double Term(ImportanceKind kind, double v) {
  switch (kind) {
    case ImportanceKind::kClip:
      return v < 0 ? 0 : v;  // NaN stays NaN
    case ImportanceKind::kL1:
      return fabs(v);
    case ImportanceKind::kL2:
      return v * v;
    default:
      return v;
  }
}

// A warp a row: each lane sums every 32nd channel, so that the order is that of the channels alone.
__global__ void SumRows(ImportanceKind kind, Rows<const float> activations, int64_t rows,
                        int64_t cols, float* importance) {
  const int64_t row = blockIdx.x * kRowsPerBlock + threadIdx.x / 32;
  if (row >= rows) return;
  double sum = 0;
  for (int64_t c = threadIdx.x % 32; c < cols; c += 32) sum += Term(kind, activations[row][c]);
  const double mean = WarpSum(sum) / static_cast<double>(cols);
  if (threadIdx.x % 32 != 0) return;
  importance[row] = static_cast<float>(kind == ImportanceKind::kL2 ? sqrt(mean) : mean);
}

}  // namespace

void RowImportance(const Exec& exec, ImportanceKind kind, MatView<const float> activations,
                   VecView<float> importance) {
  Launch(exec, SumRows, Blocks(activations.rows, kRowsPerBlock), kThreads, 0, kind, activations,
         activations.rows, activations.cols, importance.data);
}

}  // namespace pith::cuda
