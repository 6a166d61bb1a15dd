// The best match of each row is the largest entry of its row in a matrix product, sources times
// targets, that is too large to hold. So the targets are normalised once and laid out as the
// product's right panels; then each task takes a few sources through all panels and keeps, per
// source, the best so far. A panel's products stay in registers and L1. Every similarity is one
// chain of multiply-adds (gemm-inl.h), whatever task and tile it falls into, and candidates are
// compared in ascending order: equal rows tie exactly, and threads change nothing.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/match.cc"
#include <hwy/foreach_target.h>
// Highway wants its headers after foreach_target.h.
#include <array>
#include <cmath>
#include <cstring>

#include "backends/cpu/gemm-inl.h"
#include "backends/cpu/kernels.h"
#include "core/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace pith::cpu::HWY_NAMESPACE {

// Sources that one task holds while a panel of targets passes.
constexpr int64_t kMaxSources = 4 * kTileRows;

// Column c is added to sum c % kSums whatever the width of vectors is, so every target gives the
// same bits.
constexpr int64_t kSums = 8;
using Wide = hn::CappedTag<double, kSums>;
using Narrow = hn::Rebind<float, Wide>;

// Σ row², of products that are exact in double.
double SumSquares(const float* row, int64_t cols) {
  const Wide wide;
  constexpr int64_t kWideLanes = hn::MaxLanes(Wide());
  constexpr int64_t kVectors = kSums / kWideLanes;
  std::array<hn::Vec<Wide>, kVectors> lanes;
  for (auto& lane : lanes) lane = hn::Zero(wide);
  const int64_t whole = cols / kSums * kSums;
  for (int64_t c = 0; c < whole; c += kSums) {
#pragma GCC unroll 8
    for (int64_t v = 0; v < kVectors; ++v) {
      const auto x = hn::PromoteTo(wide, hn::LoadU(Narrow(), row + c + v * kWideLanes));
      lanes[v] = hn::MulAdd(x, x, lanes[v]);
    }
  }
  HWY_ALIGN double sums[kSums];
  for (int64_t v = 0; v < kVectors; ++v) hn::Store(lanes[v], wide, sums + v * kWideLanes);
  for (int64_t c = whole; c < cols; ++c) sums[c - whole] += static_cast<double>(row[c]) * row[c];
  double square = 0;
  for (const double sum : sums) square += sum;
  return square;
}

void NormaliseRow(const float* row, int64_t cols, float* out) {
  const double square = SumSquares(row, cols);
  if (!std::isfinite(square)) {
    std::fill(out, out + cols, 0.0f);
    return;
  }
  const double inverse = 1 / std::max(std::sqrt(square), 1e-12);
  const Wide wide;
  constexpr int64_t kWideLanes = hn::MaxLanes(Wide());
  int64_t c = 0;
  for (; c + kWideLanes <= cols; c += kWideLanes) {
    const auto x = hn::PromoteTo(wide, hn::LoadU(Narrow(), row + c));
    hn::StoreU(hn::DemoteTo(Narrow(), hn::Mul(x, hn::Set(wide, inverse))), Narrow(), out + c);
  }
  for (; c < cols; ++c) out[c] = static_cast<float>(row[c] * inverse);
}

// panels[(j / kTileCols, k, j % kTileCols)] = unit row of target j, 0 beyond the last.
void PackTargets(const Exec& exec, const MatchArgs& args, float* panels) {
  const auto count = static_cast<int64_t>(args.targets.size());
  const int64_t cols = args.features.cols;
  ParallelFor(ThreadsFor(exec, count * cols), CeilDiv(count, kTileCols), [&](int64_t panel) {
    thread_local BufferOwner<float> unit;
    unit.Resize(cols);
    float* const to = panels + panel * cols * kTileCols;
    for (int64_t j = 0; j < kTileCols; ++j) {
      const int64_t target = panel * kTileCols + j;
      if (target < count) {
        NormaliseRow(args.features.Row(args.targets[target]), cols, unit.data());
      } else {
        std::fill_n(unit.data(), cols, 0.0f);
      }
      for (int64_t k = 0; k < cols; ++k) to[k * kTileCols + j] = unit.data()[k];
    }
  });
}

// The unit rows of `rows` sources from `first` on, as left tiles: one [kMaxSources, kLeftStride]
// for each kDepth columns.
const float* PackSources(const MatchArgs& args, int64_t first, int64_t rows) {
  const int64_t cols = args.features.cols;
  thread_local BufferOwner<float> scratch;
  scratch.Resize(CeilDiv(cols, kDepth) * kMaxSources * kLeftStride + cols);
  float* const unit = scratch.data() + scratch.size() - cols;
  for (int64_t r = 0; r < rows; ++r) {
    NormaliseRow(args.features.Row(args.sources[first + r]), cols, unit);
    for (int64_t k = 0; k < cols; k += kDepth) {
      std::memcpy(scratch.data() + (k / kDepth * kMaxSources + r) * kLeftStride, unit + k,
                  std::min(kDepth, cols - k) * sizeof(float));
    }
  }
  return scratch.data();
}

// The argmax over one panel, whose first column is target `first`. A source's best soon beats most
// panels, which are then done with in one comparison.
void TakeBest(const MatchArgs& args, int64_t source, int64_t first, const float* products) {
  const D d;
  const V most = hn::Max(hn::Load(d, products), hn::Load(d, products + kLanes));
  if (hn::AllFalse(d, hn::Gt(most, hn::Set(d, args.best[source].similarity)))) return;
  const int64_t begin = std::max(args.candidates[source].begin, first);
  const int64_t end = std::min(args.candidates[source].end, first + kTileCols);
  Match& best = args.best[source];
  for (int64_t j = begin; j < end; ++j) {
    const float similarity = products[j - first];
    if (similarity > best.similarity) best = {args.targets[j], similarity};
  }
}

void MatchSources(const MatchArgs& args, const float* panels, int64_t first, int64_t rows) {
  const D d;
  const int64_t cols = args.features.cols;
  const float* const left = PackSources(args, first, rows);
  const int64_t begin = args.candidates[first].begin / kTileCols * kTileCols;
  const int64_t end = args.candidates[first + rows - 1].end;
  HWY_ALIGN float products[kMaxSources * kTileCols];
  for (int64_t j = begin; j < end; j += kTileCols) {
    const float* const panel = panels + j * cols;
    for (int64_t k = 0; k < cols; k += kDepth) {
      MultiplyRows(rows, left + k * kMaxSources / kDepth * kLeftStride, panel + k * kTileCols,
                   kTileCols, std::min(kDepth, cols - k), [&](int64_t r, int v, V sum) HWY_ATTR {
                     float* const at = products + r * kTileCols + v * kLanes;
                     hn::Store(k > 0 ? hn::Add(hn::Load(d, at), sum) : sum, d, at);
                   });
    }
    for (int64_t r = 0; r < rows; ++r) TakeBest(args, first + r, j, products + r * kTileCols);
  }
}

void RunBestMatches(const Exec& exec, const MatchArgs& args) {
  const auto sources = static_cast<int64_t>(args.sources.size());
  const auto targets = static_cast<int64_t>(args.targets.size());
  BufferOwner<float> panels(CeilDiv(targets, kTileCols) * kTileCols * args.features.cols);
  PackTargets(exec, args, panels.data());
  const int threads = ThreadsFor(exec, sources * targets * args.features.cols / 32);
  const int64_t share = CeilDiv(CeilDiv(sources, 4 * threads), kTileRows) * kTileRows;
  const int64_t rows = std::min(share, kMaxSources);
  ParallelFor(threads, CeilDiv(sources, rows), [&](int64_t task) {
    MatchSources(args, panels.data(), task * rows, std::min(rows, sources - task * rows));
  });
}

}  // namespace pith::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pith::cpu {

HWY_EXPORT(RunBestMatches);

void BestMatches(const Exec& exec, const MatchArgs& args) {
  HWY_DYNAMIC_DISPATCH(RunBestMatches)(exec, args);
}

}  // namespace pith::cpu
#endif
