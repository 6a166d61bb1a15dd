#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/norm.cc"
#include <hwy/foreach_target.h>
// Highway wants its headers after foreach_target.h.
#include <cmath>

#include "backends/cpu/kernels.h"
#include "backends/cpu/math-inl.h"
#include "core/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace pith::cpu::HWY_NAMESPACE {

// Sum over i < n of term(d, i), in an order that n alone decides.
template <class Term>
HWY_INLINE float SumOf(int64_t n, const Term& term) {
  const D d;
  V sums = hn::Zero(d);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) sums = hn::Add(sums, term(d, i));
  float sum = hn::GetLane(hn::SumOfLanes(d, sums));
  for (; i < n; ++i) sum += hn::GetLane(term(hn::CappedTag<float, 1>(), i));
  return sum;
}

void NormRow(const AddNormArgs& args, int64_t row) {
  const int64_t n = args.x.cols;
  const float* x = args.x.Row(row);
  const float* add = args.add.empty() ? nullptr : args.add.Row(row);
  float* out = args.out.Row(row);
  float* s = args.sum.empty() ? out : args.sum.Row(row);
  ForVectors(n, [&](auto d, int64_t i) HWY_ATTR {
    const auto v = hn::LoadU(d, x + i);
    hn::StoreU(add ? hn::Add(v, hn::LoadU(d, add + i)) : v, d, s + i);
  });
  float mean = 0;
  if (args.layer_norm) {
    mean = SumOf(n, [&](auto d, int64_t i) HWY_ATTR { return hn::LoadU(d, s + i); }) / n;
  }
  const float square = SumOf(n, [&](auto d, int64_t i) HWY_ATTR {
    const auto v = hn::Sub(hn::LoadU(d, s + i), hn::Set(d, mean));
    return hn::Mul(v, v);
  });
  const float scale = 1 / std::sqrt(square / n + args.eps);
  ForVectors(n, [&](auto d, int64_t i) HWY_ATTR {
    const auto v = hn::Mul(hn::Sub(hn::LoadU(d, s + i), hn::Set(d, mean)), hn::Set(d, scale));
    const auto weighted = args.weight.data ? hn::Mul(v, hn::LoadU(d, args.weight.data + i)) : v;
    hn::StoreU(args.bias.data ? hn::Add(weighted, hn::LoadU(d, args.bias.data + i)) : weighted, d,
               out + i);
  });
}

void GateGroup(const GateArgs& args, int64_t row, int64_t begin) {
  const float* y = args.y.Row(row) + begin;
  const float* z = args.z.Row(row) + begin;
  const float* weight = args.norm_weight.data + begin;
  float* out = args.out.Row(row) + begin;
  if (!args.norm_before_gate) {
    ForVectors(args.group, [&](auto d, int64_t i) HWY_ATTR {
      hn::StoreU(hn::Mul(hn::LoadU(d, y + i), Silu(d, hn::LoadU(d, z + i))), d, out + i);
    });
    y = out;
  }
  const float square = SumOf(args.group, [&](auto d, int64_t i) HWY_ATTR {
    const auto v = hn::LoadU(d, y + i);
    return hn::Mul(v, v);
  });
  const float scale = 1 / std::sqrt(square / args.group + args.eps);
  ForVectors(args.group, [&](auto d, int64_t i) HWY_ATTR {
    const auto v =
        hn::Mul(hn::Mul(hn::LoadU(d, y + i), hn::Set(d, scale)), hn::LoadU(d, weight + i));
    hn::StoreU(args.norm_before_gate ? hn::Mul(v, Silu(d, hn::LoadU(d, z + i))) : v, d, out + i);
  });
}

void GateRow(const GateArgs& args, int64_t row) {
  if (args.norm_weight.data) {
    for (int64_t g = 0; g < args.y.cols; g += args.group) GateGroup(args, row, g);
    return;
  }
  const float* y = args.y.Row(row);
  const float* z = args.z.Row(row);
  float* out = args.out.Row(row);
  ForVectors(args.y.cols, [&](auto d, int64_t i) HWY_ATTR {
    hn::StoreU(hn::Mul(hn::LoadU(d, y + i), Silu(d, hn::LoadU(d, z + i))), d, out + i);
  });
}

// `cost` of an element, in elementary steps.
template <class Fn>
void ForRows(const Exec& exec, int64_t rows, int64_t cols, int64_t cost, const Fn& fn) {
  constexpr int64_t kBlock = 16;
  ParallelFor(ThreadsFor(exec, rows * cols * cost), CeilDiv(rows, kBlock), [&](int64_t i) {
    for (int64_t r = i * kBlock; r < std::min((i + 1) * kBlock, rows); ++r) fn(r);
  });
}

void RunAddNorm(const Exec& exec, const AddNormArgs& args) {
  ForRows(exec, args.x.rows, args.x.cols, 2, [&](int64_t row) { NormRow(args, row); });
}

void RunGate(const Exec& exec, const GateArgs& args) {
  ForRows(exec, args.y.rows, args.y.cols, 3, [&](int64_t row) { GateRow(args, row); });
}

}  // namespace pith::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pith::cpu {

HWY_EXPORT(RunAddNorm);
HWY_EXPORT(RunGate);

void AddNorm(const Exec& exec, const AddNormArgs& args) {
  HWY_DYNAMIC_DISPATCH(RunAddNorm)(exec, args);
}

void Gate(const Exec& exec, const GateArgs& args) { HWY_DYNAMIC_DISPATCH(RunGate)(exec, args); }

}  // namespace pith::cpu
#endif
