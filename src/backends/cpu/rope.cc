// Rope: angles are brought to [−π, π] in double, where nothing is lost at any position; their
// cosines and sines, in f32, are taken once a row for all of its heads.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/rope.cc"
#include <hwy/foreach_target.h>
// Highway wants its headers after foreach_target.h.
#include <cmath>
#include <numbers>

#include "backends/cpu/kernels.h"
#include "backends/cpu/math-inl.h"
#include "core/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace pith::cpu::HWY_NAMESPACE {

// cosines [pairs], sines [pairs], of one position; both multiplied by the factor.
void TakeAngles(const RopeArgs& args, int32_t position, float* cosines, float* sines) {
  constexpr double kTurn = 2 * std::numbers::pi;
  const auto pairs = static_cast<int64_t>(args.frequencies.size());
  for (int64_t i = 0; i < pairs; ++i) {
    const double angle = position * args.frequencies[i];
    sines[i] = static_cast<float>(angle - kTurn * std::nearbyint(angle * (1 / kTurn)));
  }
  ForVectors(pairs, [&](auto d, int64_t i) HWY_ATTR {
    const auto angle = hn::LoadU(d, sines + i);
    const auto factor = hn::Set(d, args.factor);
    hn::StoreU(hn::Mul(factor, hn::Cos(d, angle)), d, cosines + i);
    hn::StoreU(hn::Mul(factor, hn::Sin(d, angle)), d, sines + i);
  });
}

void TurnHalves(int64_t pairs, const float* cosines, const float* sines, float* x) {
  ForVectors(pairs, [&](auto d, int64_t i) HWY_ATTR {
    const auto a = hn::LoadU(d, x + i), b = hn::LoadU(d, x + pairs + i);
    const auto c = hn::LoadU(d, cosines + i), s = hn::LoadU(d, sines + i);
    hn::StoreU(hn::NegMulAdd(b, s, hn::Mul(a, c)), d, x + i);
    hn::StoreU(hn::MulAdd(a, s, hn::Mul(b, c)), d, x + pairs + i);
  });
}

void TurnNeighbours(int64_t pairs, const float* cosines, const float* sines, float* x) {
  for (int64_t i = 0; i < pairs; ++i) {
    const float a = x[2 * i], b = x[2 * i + 1];
    x[2 * i] = a * cosines[i] - b * sines[i];
    x[2 * i + 1] = b * cosines[i] + a * sines[i];
  }
}

void RunRope(const Exec& exec, const RopeArgs& args) {
  const auto pairs = static_cast<int64_t>(args.frequencies.size());
  const auto turn = args.pairing == RopePairing::kHalf ? TurnHalves : TurnNeighbours;
  ParallelFor(ThreadsFor(exec, args.x.rows * (args.x.cols + 16 * pairs)), args.x.rows,
              [&](int64_t r) {
                thread_local BufferOwner<float> scratch;
                scratch.Resize(2 * pairs);
                float* const cosines = scratch.data();
                float* const sines = cosines + pairs;
                TakeAngles(args, args.positions[r], cosines, sines);
                for (int64_t h = 0; h < args.n_heads; ++h) {
                  turn(pairs, cosines, sines, args.x.Row(r) + h * args.head_dim);
                }
              });
}

}  // namespace pith::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pith::cpu {

HWY_EXPORT(RunRope);

void Rope(const Exec& exec, const RopeArgs& args) { HWY_DYNAMIC_DISPATCH(RunRope)(exec, args); }

}  // namespace pith::cpu
#endif
