// LinearStep. Packed weights are another file's. Rows, which oneDNN's products want: dot products,
// each row read once, with a few input rows.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/linear_step.cc"
#include <hwy/foreach_target.h>
// Highway wants its headers after foreach_target.h.
#include <cstring>

#include "backends/cpu/kernels.h"
#include "backends/cpu/math-inl.h"
#include "core/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace pith::cpu::HWY_NAMESPACE {

// A dot product is kChains interleaved chains of fused multiply-adds, whatever rows share the loop.
constexpr int kChains = 4;
constexpr int64_t kStep = kChains * kLanes;

template <class T>
HWY_INLINE V LoadRounded(const T* from, bool bf16) {
  const V v = LoadWide(D(), from);
  return bf16 ? RoundToBF16(D(), v) : v;
}

// to[r] = w · row r of x. x has `x_stride` floats a row, zero from `depth` on.
template <int kRows, class T>
HWY_INLINE void Dot(const T* HWY_RESTRICT w, const float* HWY_RESTRICT x, int64_t x_stride,
                    int64_t depth, bool bf16, float* to) {
  const D d;
  V sums[kRows][kChains];
  for (auto& row : sums) {
    for (V& sum : row) sum = hn::Zero(d);
  }
  const auto add = [&](const T* from, int64_t k) HWY_ATTR {
#pragma GCC unroll 4
    for (int c = 0; c < kChains; ++c) {
      const V weight = LoadRounded(from + c * kLanes, bf16);
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
        const V in = hn::LoadU(d, x + r * x_stride + k + c * kLanes);
        sums[r][c] = hn::MulAdd(weight, in, sums[r][c]);
      }
    }
  };
  int64_t k = 0;
  for (; k + kStep <= depth; k += kStep) add(w + k, k);
  if (k < depth) {
    T rest[kStep] = {};
    std::memcpy(rest, w + k, (depth - k) * sizeof(T));
    add(rest, k);
  }
  for (int r = 0; r < kRows; ++r) {
    const V low = hn::Add(sums[r][0], sums[r][1]);
    const V high = hn::Add(sums[r][2], sums[r][3]);
    to[r] = hn::GetLane(hn::SumOfLanes(d, hn::Add(low, high)));
  }
}

void RunLinearStep(const Exec& exec, MatView<const float> x, const WeightView& w,
                   VecView<const float> bias, MatView<float> out) {
  const bool bf16 = exec.precision == Precision::kBF16;
  const int64_t padded = CeilDiv(x.cols, kStep) * kStep;
  thread_local BufferOwner<float> inputs;
  inputs.Resize(x.rows * padded);
  const float* const copied = inputs.data();  // this thread's, for all
  for (int64_t r = 0; r < x.rows; ++r) {
    float* to = inputs.data() + r * padded;
    ForVectors(x.cols, [&](auto d, int64_t i) HWY_ATTR {
      const auto v = hn::LoadU(d, x.Row(r) + i);
      hn::StoreU(bf16 ? RoundToBF16(d, v) : v, d, to + i);
    });
    std::fill(to + x.cols, to + padded, 0.0f);
  }
  const int threads =
      ThreadsForBytes(exec, w.rows * w.cols * static_cast<int64_t>(SizeOf(w.dtype)));
  const int64_t block = std::max<int64_t>(8, CeilDiv(w.rows, 8 * threads));
  ParallelFor(threads, CeilDiv(w.rows, block), [&](int64_t i) {
    VisitFloat(w.dtype, [&]<class T>() HWY_ATTR {
      const bool round = bf16 && !std::is_same_v<T, BF16>;
      for (int64_t j = i * block; j < std::min((i + 1) * block, w.rows); ++j) {
        const T* row = static_cast<const T*>(w.data) + (w.first + j) * w.cols;
        const float start = bias.empty() ? 0.0f : bias.data[j];
        for (int64_t r = 0; r < x.rows; r += 2) {
          float sums[2];
          const float* in = copied + r * padded;
          if (r + 1 < x.rows) {
            Dot<2>(row, in, padded, w.cols, round, sums);
            out.Row(r + 1)[j] = start + sums[1];
          } else {
            Dot<1>(row, in, padded, w.cols, round, sums);
          }
          out.Row(r)[j] = start + sums[0];
        }
      }
    });
  });
}

}  // namespace pith::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pith::cpu {

HWY_EXPORT(RunLinearStep);

void LinearStep(const Exec& exec, MatView<const float> x, const WeightView& w,
                VecView<const float> bias, MatView<float> out) {
  if (w.format == WeightFormat::kPanels) {
    LinearStepPanels(exec, x, w, bias, out);
    return;
  }
  if (w.format != WeightFormat::kRows) {
    Linear(exec, x, w, bias, out);
    return;
  }
  HWY_DYNAMIC_DISPATCH(RunLinearStep)(exec, x, w, bias, out);
}

}  // namespace pith::cpu
#endif
