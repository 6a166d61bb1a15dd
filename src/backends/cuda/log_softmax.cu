// ScoreLabels and MostLikely: a block a row; exponentials in f32, their sum in double.
#include <climits>
#include <cmath>

#include "backends/cuda/kernels.h"
#include "backends/cuda/launch.cuh"

namespace pith::cuda {
namespace {

constexpr int kThreads = 512;

struct Top {
  float value;
  int index;

  // The larger value, of equals the lower index; a NaN is never larger.
  __device__ void Meet(const Top& other) {
    if (other.value > value || (other.value == value && other.index < index)) *this = other;
  }
};

__device__ Top WarpTop(Top top) {
  for (int offset = 16; offset > 0; offset /= 2) {
    top.Meet({__shfl_xor_sync(~0u, top.value, offset), __shfl_xor_sync(~0u, top.index, offset)});
  }
  return top;
}

__device__ Top BlockTop(Top top) {
  __shared__ Top parts[kThreads / 32];
  top = WarpTop(top);
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = top;
  __syncthreads();
  for (const Top& part : parts) top.Meet(part);
  __syncthreads();
  return top;
}

__global__ void __launch_bounds__(kThreads)
    ScoreKernel(Rows<const float> logits, int64_t vocab, const int32_t* labels, LabelScore* out) {
  const float* const row = logits[blockIdx.x];
  Top top = {-INFINITY, INT_MAX};
#pragma unroll 8
  for (int64_t j = threadIdx.x; j < vocab; j += kThreads) top.Meet({row[j], static_cast<int>(j)});
  top = BlockTop(top);
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

__global__ void __launch_bounds__(kThreads)
    TopKernel(Rows<const float> logits, int64_t vocab, int32_t* out) {
  const float* const row = logits[blockIdx.x];
  Top top = {-INFINITY, INT_MAX};
  int broken = 0;
#pragma unroll 8
  for (int64_t j = threadIdx.x; j < vocab; j += kThreads) {
    top.Meet({row[j], static_cast<int>(j)});
    broken |= isnan(row[j]);
  }
  broken = __syncthreads_or(broken);
  top = BlockTop(top);
  if (threadIdx.x == 0) out[blockIdx.x] = broken || isinf(top.value) ? -1 : top.index;
}

}  // namespace

void MostLikely(const Exec& exec, MatView<const float> logits, std::span<int32_t> out) {
  const Scratch<int32_t> tops(exec, logits.rows);
  Launch(exec, TopKernel, static_cast<unsigned>(logits.rows), kThreads, 0, logits, logits.cols,
         tops.data());
  exec.backend->Download(exec.queue, tops.data(), out.data(), out.size_bytes());
}

void ScoreLabels(const Exec& exec, MatView<const float> logits, std::span<const int32_t> labels,
                 std::span<LabelScore> out) {
  if (labels.empty()) return;
  const Scratch<LabelScore> scores(exec, logits.rows);
  Launch(exec, ScoreKernel, static_cast<unsigned>(logits.rows), kThreads, 0, logits, logits.cols,
         Place(exec, labels), scores.data());
  exec.backend->Download(exec.queue, scores.data(), out.data(), out.size_bytes());
}

}  // namespace pith::cuda
