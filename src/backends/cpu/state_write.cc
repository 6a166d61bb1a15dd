// StateWrite: a sum of outer products, with a tile of the state in registers.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/state_write.cc"
#include <hwy/foreach_target.h>
// Highway wants its headers after foreach_target.h.
#include "backends/cpu/math-inl.h"
#include "backends/cpu/state_write.h"

HWY_BEFORE_NAMESPACE();
namespace pith::cpu::HWY_NAMESPACE {

// A tile of kTileStates × kTileVectors sums: 24 of AVX-512's 32 registers, 8 of AVX2's 16.
inline constexpr int kTileStates = kLanes >= 16 ? 6 : 4;
inline constexpr int kTileVectors = kLanes >= 16 ? 4 : 2;

// The cells [n, n + kStates) × [p, p + kVectors lanes).
template <int kStates, int kVectors, class Tag>
HWY_INLINE void WriteTile(Tag d, const StateWriteArgs& args, int64_t n, int64_t p) {
  constexpr int64_t kWidth = hn::MaxLanes(Tag());
  float* const cells = args.state + n * args.x.cols + p;
  hn::Vec<Tag> sums[kStates][kVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kStates; ++i) {
    for (int j = 0; j < kVectors; ++j) {
      sums[i][j] = hn::LoadU(d, cells + i * args.x.cols + j * kWidth);
    }
  }
  for (int64_t t = 0; t < args.x.rows; ++t) {
    const float* const x = args.x.Row(t) + p;
    const float* const b = args.b.Row(t) + n;
    hn::Vec<Tag> in[kVectors];
    for (int j = 0; j < kVectors; ++j) {
      in[j] = hn::Mul(hn::Set(d, args.weight[t]), hn::LoadU(d, x + j * kWidth));
    }
#pragma GCC unroll 16
    for (int i = 0; i < kStates; ++i) {
      const hn::Vec<Tag> factor = hn::Set(d, b[i]);
      for (int j = 0; j < kVectors; ++j) sums[i][j] = hn::MulAdd(factor, in[j], sums[i][j]);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kStates; ++i) {
    for (int j = 0; j < kVectors; ++j) {
      hn::StoreU(sums[i][j], d, cells + i * args.x.cols + j * kWidth);
    }
  }
}

template <int kStates>
HWY_INLINE void WriteStates(const StateWriteArgs& args, int64_t n) {
  const int64_t width = args.x.cols;
  int64_t p = 0;
  for (; p + kTileVectors * kLanes <= width; p += kTileVectors * kLanes) {
    WriteTile<kStates, kTileVectors>(D(), args, n, p);
  }
  for (; p + kLanes <= width; p += kLanes) WriteTile<kStates, 1>(D(), args, n, p);
  for (; p < width; ++p) WriteTile<kStates, 1>(hn::CappedTag<float, 1>(), args, n, p);
}

void RunStateWrite(const StateWriteArgs& args) {
  int64_t n = 0;
  for (; n + kTileStates <= args.b.cols; n += kTileStates) WriteStates<kTileStates>(args, n);
  for (; n < args.b.cols; ++n) WriteStates<1>(args, n);
}

}  // namespace pith::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pith::cpu {

HWY_EXPORT(RunStateWrite);

void StateWrite(const StateWriteArgs& args) { HWY_DYNAMIC_DISPATCH(RunStateWrite)(args); }

}  // namespace pith::cpu
#endif
