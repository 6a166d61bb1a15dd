// The best match of each row is the largest entry of its row in a matrix product, sources times
// targets, that is too large to hold. So unit rows are laid out once as the product's sides, and
// each task takes a few sources through panels of targets and keeps, per source, the best so far.
//
// Most products need no full depth. Where only the most similar sources are wanted, a pair matters
// that beats what its source has and what so many sources have already. After each kPiece columns,
// products so far and the lengths of what is left of both rows bound the cosine (Cauchy–Schwarz);
// a tile none of whose pairs can matter is left. Targets come in rounds, the nearest ones first,
// since the sooner many sources have similar targets, the more is left out. Text saves half of the
// multiplications at 10 % reduction.
//
// A similarity that is computed to its end is one chain of multiply-adds, whatever task and tile it
// falls into: equal rows tie exactly, and threads change nothing that is wanted.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/match.cc"
#include <hwy/foreach_target.h>
// Highway wants its headers after foreach_target.h.
#include <algorithm>
#include <array>
#include <functional>
#include <limits>
#include <numeric>
#include <vector>

#include "backends/cpu/match-inl.h"

HWY_BEFORE_NAMESPACE();
namespace pith::cpu::HWY_NAMESPACE {

// Sources that one task holds while a panel of targets passes.
constexpr int64_t kMaxSources = 4 * kTileRows;
// Round r takes the nearest 1 / kShares[r] of the panels, without those of the rounds before.
constexpr std::array<int64_t, 4> kShares = {16, 4, 2, 1};

// The argmax over one panel, whose first column is target `first`; of equals the first target,
// whichever panel comes before. A source's best soon beats most panels, which are then done with in
// one comparison.
void TakeBest(const MatchArgs& args, int64_t source, int64_t first, const float* products) {
  const D d;
  const V most = hn::Max(hn::Load(d, products), hn::Load(d, products + kLanes));
  Match& best = args.best[source];
  if (hn::AllFalse(d, hn::Ge(most, hn::Set(d, best.similarity)))) return;
  const int64_t begin = std::max(args.candidates[source].begin, first);
  const int64_t end = std::min(args.candidates[source].end, first + kTileCols);
  for (int64_t j = begin; j < end; ++j) {
    const Match match = {args.targets[j], products[j - first]};
    const bool before = match.similarity == best.similarity && match.target < best.target;
    if (match.similarity > best.similarity || before) best = match;
  }
}

// Some sources, and the panels that they meet now.
struct Meeting {
  const MatchArgs& args;
  const Sides& sides;
  int64_t first, rows;  // of the sources; `first` begins a tile
  float least;          // similarities below it are not wanted

  // Whether tiles are left before their end.
  bool leaves() const { return least > -std::numeric_limits<float>::infinity(); }
};

// What a cosine may exceed its bound by: the chain of n products and the lengths round.
float Slack(int64_t cols) { return static_cast<float>(cols + 8) * 0x1p-22f; }

// Whether any pair of a tile may matter, of whose products `sums` holds the first pieces.
HWY_INLINE bool MayMatter(const V (&sums)[kTileRows][2], const float* left_tails,
                          const float* right_tails, const float* thresholds) {
  const D d;
  const V right0 = hn::Load(d, right_tails);
  const V right1 = hn::Load(d, right_tails + kLanes);
  V most = hn::Set(d, -std::numeric_limits<float>::infinity());  // beyond a threshold
#pragma GCC unroll 16
  for (int r = 0; r < kTileRows; ++r) {
    const V left = hn::Set(d, left_tails[r]);
    const V threshold = hn::Set(d, thresholds[r]);
    most = hn::Max(most, hn::Sub(hn::MulAdd(left, right0, sums[r][0]), threshold));
    most = hn::Max(most, hn::Sub(hn::MulAdd(left, right1, sums[r][1]), threshold));
  }
  return !hn::AllFalse(d, hn::Ge(most, hn::Zero(d)));
}

// Takes the block of columns [k0, k0 + depth) into the products of a tile with a panel. False: none
// of them matters.
bool AddBlock(const Meeting& meeting, int64_t tile, int64_t panel, int64_t k0, int64_t depth,
              const float* thresholds, float* products) {
  const D d;
  const Sides& sides = meeting.sides;
  V sums[kTileRows][2];
  ClearSums(sums);
  if (k0 > 0) {
#pragma GCC unroll 16
    for (int r = 0; r < kTileRows; ++r) {
      sums[r][0] = hn::Load(d, products + r * kTileCols);
      sums[r][1] = hn::Load(d, products + r * kTileCols + kLanes);
    }
  }
  const int64_t step = meeting.leaves() ? kPiece : kDepth;
  for (int64_t k = k0; k < k0 + depth; k += step) {
    AddProductsOf(LeftMatrix{sides.Left(tile * kTileRows) + k, sides.stride}, sides.Right(panel, k),
                  kTileCols, std::min(step, k0 + depth - k), sums);
    if (!meeting.leaves() || k + step >= sides.cols) continue;
    const int64_t piece = k / kPiece;
    if (!MayMatter(sums, sides.LeftTails(tile, piece), sides.RightTails(panel, piece),
                   thresholds)) {
      return false;
    }
  }
  StoreSums(sums, [&](int64_t r, int j, V sum)
                      HWY_ATTR { hn::Store(sum, d, products + r * kTileCols + j * kLanes); });
  return true;
}

void MeetPanels(const Meeting& meeting, int64_t begin, int64_t end) {
  const MatchArgs& args = meeting.args;
  const int64_t cols = meeting.sides.cols;
  const float slack = Slack(cols);
  const auto threshold = [&](int64_t r) {
    return std::max(args.best[meeting.first + r].similarity, meeting.least) - slack;
  };
  std::array<float, kMaxSources> thresholds;
  thresholds.fill(std::numeric_limits<float>::infinity());
  for (int64_t r = 0; r < meeting.rows; ++r) thresholds[r] = threshold(r);
  HWY_ALIGN float products[kMaxSources * kTileCols];
  std::array<int64_t, kMaxSources / kTileRows> tiles;  // to which the panel may matter
  for (int64_t panel = begin; panel < end; ++panel) {
    int64_t count = CeilDiv(meeting.rows, kTileRows);
    std::iota(tiles.begin(), tiles.begin() + count, 0);
    for (int64_t k = 0; k < cols && count > 0; k += kDepth) {
      const auto end_of_rest =
          std::remove_if(tiles.begin(), tiles.begin() + count, [&](int64_t tile) {
            const int64_t row = tile * kTileRows;
            return !AddBlock(meeting, meeting.first / kTileRows + tile, panel, k,
                             std::min(kDepth, cols - k), thresholds.data() + row,
                             products + row * kTileCols);
          });
      count = end_of_rest - tiles.begin();
    }
    for (int64_t i = 0; i < count; ++i) {
      const int64_t first = tiles[i] * kTileRows;
      for (int64_t r = first; r < std::min(first + kTileRows, meeting.rows); ++r) {
        TakeBest(args, meeting.first + r, panel * kTileCols, products + r * kTileCols);
        thresholds[r] = threshold(r);
      }
    }
  }
}

struct Range {
  int64_t begin, end;
};

// The nearest 1 / share of the panels that hold a task's candidates.
Range Nearest(const Meeting& meeting, int64_t share) {
  const auto& candidates = meeting.args.candidates;
  const int64_t begin = candidates[meeting.first].begin / kTileCols;
  const int64_t end = CeilDiv(candidates[meeting.first + meeting.rows - 1].end, kTileCols);
  if (end <= begin) return {begin, begin};
  const int64_t count = CeilDiv(end - begin, share);
  const int32_t middle = meeting.args.sources[meeting.first + meeting.rows / 2];
  const int64_t at =
      (std::ranges::lower_bound(meeting.args.targets, middle) - meeting.args.targets.begin()) /
      kTileCols;
  const int64_t from = std::clamp(at - count / 2, begin, end - count);
  return {from, from + count};
}

// The least similarity that is among the args.wanted largest so far.
float LeastWanted(const MatchArgs& args) {
  std::vector<float> similarities;
  similarities.reserve(args.best.size());
  for (const Match& match : args.best) similarities.push_back(match.similarity);
  const auto last = similarities.begin() + (args.wanted - 1);
  std::ranges::nth_element(similarities, last, std::greater<>());
  return *last;
}

void RunBestMatches(const Exec& exec, const MatchArgs& args) {
  const auto sources = std::ssize(args.sources);
  const auto targets = std::ssize(args.targets);
  const Sides sides(args);
  Pack(exec, args, sides);
  const int threads = ThreadsFor(exec, sources * targets * sides.cols / 32);
  const int64_t share = CeilDiv(CeilDiv(sources, 4 * threads), kTileRows) * kTileRows;
  const int64_t rows = std::min(share, kMaxSources);
  const auto run = [&](int64_t before, int64_t now, float least) {
    ParallelFor(threads, CeilDiv(sources, rows), [&](int64_t i) {
      const Meeting meeting = {args, sides, i * rows, std::min(rows, sources - i * rows), least};
      const Range all = Nearest(meeting, now);
      const Range done = before > 0 ? Nearest(meeting, before) : Range{all.begin, all.begin};
      MeetPanels(meeting, all.begin, done.begin);
      MeetPanels(meeting, done.end, all.end);
    });
  };
  constexpr float kNone = -std::numeric_limits<float>::infinity();
  if (args.wanted >= sources) return run(0, 1, kNone);
  for (size_t round = 0; round < kShares.size(); ++round) {
    const float least = round > 0 ? LeastWanted(args) : kNone;
    run(round > 0 ? kShares[round - 1] : 0, kShares[round], least);
  }
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
