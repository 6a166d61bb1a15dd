#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/log_softmax.cc"
#include <hwy/foreach_target.h>
// Highway wants its headers after foreach_target.h.
#include <cmath>

#include "backends/cpu/kernels.h"
#include "backends/cpu/math-inl.h"
#include "core/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace pith::cpu::HWY_NAMESPACE {

// A lane sums 8 exponentials in f32 before they go to double: the sum's relative error is then
// below 8 · 2⁻²⁴ from adding and 2⁻²² from the exponentials, together 7.2e-7.
constexpr int64_t kBlock = 8 * kLanes;

float Largest(const float* row, int64_t n) {
  float largest = row[0];
  V lanes = hn::Set(D(), row[0]);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) lanes = hn::Max(lanes, hn::LoadU(D(), row + i));
  for (; i < n; ++i) largest = std::max(largest, row[i]);
  return std::max(largest, hn::GetLane(hn::MaxOfLanes(D(), lanes)));
}

double SumOfExp(const float* row, int64_t n, float largest) {
  const D d;
  double sum = 0;
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t end = std::min(n, begin + kBlock);
    V sums = hn::Zero(d);
    int64_t i = begin;
    for (; i + kLanes <= end; i += kLanes) {
      sums = hn::Add(sums, FastExp(d, hn::Sub(hn::LoadU(d, row + i), hn::Set(d, largest))));
    }
    HWY_ALIGN float lanes[kLanes];
    hn::Store(sums, d, lanes);
    for (const float lane : lanes) sum += lane;
    for (; i < end; ++i) sum += std::exp(row[i] - largest);
  }
  return sum;
}

void RunScoreLabels(const Exec& exec, MatView<const float> logits, std::span<const int32_t> labels,
                    std::span<LabelScore> out) {
  ParallelFor(ThreadsFor(exec, logits.rows * logits.cols), logits.rows, [&](int64_t i) {
    const float* row = logits.Row(i);
    const float largest = Largest(row, logits.cols);
    const double log_sum = std::log(SumOfExp(row, logits.cols, largest));
    const float* const top = std::find(row, row + logits.cols, largest);
    out[i].top = top == row + logits.cols ? 0 : static_cast<int32_t>(top - row);  // 0: NaN logits
    out[i].top_logprob = static_cast<float>(-log_sum);
    out[i].logprob = static_cast<float>(static_cast<double>(row[labels[i]]) - largest - log_sum);
  });
}

}  // namespace pith::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pith::cpu {

HWY_EXPORT(RunScoreLabels);

void ScoreLabels(const Exec& exec, MatView<const float> logits, std::span<const int32_t> labels,
                 std::span<LabelScore> out) {
  HWY_DYNAMIC_DISPATCH(RunScoreLabels)(exec, logits, labels, out);
}

}  // namespace pith::cpu
#endif
