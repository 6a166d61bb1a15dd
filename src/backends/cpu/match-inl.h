// The sides of the product that matching makes (match.cc), compiled once per SIMD target: unit
// rows, and the lengths of what is left of them.
#if defined(PITH_BACKENDS_CPU_MATCH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PITH_BACKENDS_CPU_MATCH_INL_H_
#undef PITH_BACKENDS_CPU_MATCH_INL_H_
#else
#define PITH_BACKENDS_CPU_MATCH_INL_H_
#endif

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <span>

#include "backends/cpu/gemm-inl.h"
#include "backends/cpu/kernels.h"
#include "core/parallel.h"
#include "ops/match.h"

HWY_BEFORE_NAMESPACE();
namespace pith::cpu::HWY_NAMESPACE {

// Columns between two looks at what is left.
constexpr int64_t kPiece = 64;
static_assert(kDepth % kPiece == 0);
// Column c is added to sum c % kSums whatever the width of vectors is, so every target gives the
// same bits.
constexpr int64_t kSums = 8;
using Wide = hn::CappedTag<double, kSums>;
using Narrow = hn::Rebind<float, Wide>;

// Σ row², of products that are exact in double.
inline double SumSquares(const float* row, int64_t cols) {
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

inline void NormaliseRow(const float* row, int64_t cols, float* out) {
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

// put(p, length) for the pieces p of a unit row: the length of what follows p.
template <class Put>
void ForTails(const float* unit, int64_t cols, int64_t pieces, const Put& put) {
  double square = 0;
  for (int64_t p = pieces - 1; p >= 0; --p) {
    put(p, static_cast<float>(std::sqrt(square)));
    square += SumSquares(unit + p * kPiece, std::min(kPiece, cols - p * kPiece));
  }
}

// What all tasks read.
struct Sides {
  static constexpr int64_t kApart = 16;  // keeps a tile's rows off each other's cache sets

  explicit Sides(const MatchArgs& args)
      : cols(args.features.cols),
        stride(cols + kApart),
        pieces(args.wanted < std::ssize(args.sources) ? CeilDiv(cols, kPiece) : 0),
        left(CeilDiv(std::ssize(args.sources), kTileRows) * kTileRows * stride),
        left_tails(CeilDiv(std::ssize(args.sources), kTileRows) * pieces * kTileRows),
        right(CeilDiv(std::ssize(args.targets), kTileCols) * cols * kTileCols),
        right_tails(CeilDiv(std::ssize(args.targets), kTileCols) * pieces * kTileCols) {}

  float* Left(int64_t row) const { return left.data() + row * stride; }
  float* LeftTails(int64_t tile, int64_t piece) const {
    return left_tails.data() + (tile * pieces + piece) * kTileRows;
  }
  float* Right(int64_t panel, int64_t k) const {
    return right.data() + (panel * cols + k) * kTileCols;
  }
  float* RightTails(int64_t panel, int64_t piece) const {
    return right_tails.data() + (panel * pieces + piece) * kTileCols;
  }

  int64_t cols;
  int64_t stride;  // of left rows
  int64_t pieces;  // 0: all matches are wanted, and no tile is left before its end
  // Sources in rows, targets in panels [cols, kTileCols], zeros up to a whole tile or panel; and
  // what ForTails gives of each tile and panel, [pieces, …].
  BufferOwner<float> left, left_tails, right, right_tails;
};

// fn(r, unit) for rows [first, first + count) of `rows`; those beyond the last are zeros.
template <class Fn>
void ForUnitRows(const MatchArgs& args, std::span<const int32_t> rows, int64_t first, int64_t count,
                 const Fn& fn) {
  const int64_t cols = args.features.cols;
  thread_local BufferOwner<float> unit;
  unit.Resize(cols);
  for (int64_t r = 0; r < count; ++r) {
    if (first + r < std::ssize(rows)) {
      NormaliseRow(args.features.Row(rows[first + r]), cols, unit.data());
    } else {
      std::fill_n(unit.data(), cols, 0.0f);
    }
    fn(r, unit.data());
  }
}

inline void Pack(const Exec& exec, const MatchArgs& args, const Sides& sides) {
  const int64_t cols = sides.cols;
  const int64_t tiles = CeilDiv(std::ssize(args.sources), kTileRows);
  const int64_t panels = CeilDiv(std::ssize(args.targets), kTileCols);
  const int threads =
      ThreadsFor(exec, (std::ssize(args.sources) + std::ssize(args.targets)) * cols);
  ParallelFor(threads, tiles, [&](int64_t tile) {
    ForUnitRows(args, args.sources, tile * kTileRows, kTileRows, [&](int64_t r, const float* unit) {
      std::copy_n(unit, cols, sides.Left(tile * kTileRows + r));
      ForTails(unit, cols, sides.pieces,
               [&](int64_t piece, float tail) { sides.LeftTails(tile, piece)[r] = tail; });
    });
  });
  ParallelFor(threads, panels, [&](int64_t panel) {
    ForUnitRows(
        args, args.targets, panel * kTileCols, kTileCols, [&](int64_t j, const float* unit) {
          float* const to = sides.Right(panel, 0) + j;
          for (int64_t k = 0; k < cols; ++k) to[k * kTileCols] = unit[k];
          ForTails(unit, cols, sides.pieces,
                   [&](int64_t piece, float tail) { sides.RightTails(panel, piece)[j] = tail; });
        });
  });
}

}  // namespace pith::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // PITH_BACKENDS_CPU_MATCH_INL_H_
