// ScoreLabels: a block a row; exponentials in f32, their sum in double.
#include <climits>
#include <cmath>

#include "backends/cuda/kernels.h"
#include "backends/cuda/launch.cuh"
#include "backends/cuda/top.cuh"

namespace pith::cuda {
namespace {

constexpr int kThreads = 512;

__global__ void __launch_bounds__(kThreads)
    ScoreKernel(Rows<const float> logits, int64_t vocab, const int32_t* labels, LabelScore* out) {
  const float* const row = logits[blockIdx.x];
  Top top = {-INFINITY, INT_MAX};
#pragma unroll 8
  for (int64_t j = threadIdx.x; j < vocab; j += kThreads) top.Meet({row[j], static_cast<int>(j)});
  top = BlockTop<kThreads>(top);
  double sum = 0;
#pragma unroll 8
  for (int64_t j = threadIdx.x; j < vocab; j += kThreads) sum += expf(row[j] - top.value);
  sum = BlockSum<kThreads>(sum);
  if (threadIdx.x != 0) return;
  const double log_sum = log(sum);
  LabelScore& score = out[blockIdx.x];
  score.top = top.index == INT_MAX ? 0 : top.index;  // 0: NaN logits
  score.top_logprob = static_cast<float>(0 - log_sum);
  score.logprob =
      static_cast<float>(static_cast<double>(row[labels[blockIdx.x]]) - top.value - log_sum);
}

}  // namespace

void ScoreLabels(const Exec& exec, MatView<const float> logits, std::span<const int32_t> labels,
                 std::span<LabelScore> out) {
  if (labels.empty()) return;
  const Scratch<LabelScore> scores(exec, logits.rows);
  Launch(exec, ScoreKernel, static_cast<unsigned>(logits.rows), kThreads, 0, logits, logits.cols,
         Place(exec, labels), scores.data());
  exec.backend->Download(exec.queue, scores.data(), out.data(), out.size_bytes());
}

}  // namespace pith::cuda
