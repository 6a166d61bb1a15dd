// BestMatches against the reference.
//
// Bound: a unit row's entries are rounded once, and a cosine of n products is summed in f32: with
// Σ|u v| ≤ 1 for unit rows, it errs by at most (n + 4) · 2⁻²⁴. A target may differ from the
// reference's only where the two cosines are as near as that.
#include "ops/match.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <numeric>

#include "tests/ops/ops_testing.h"

namespace pith::ops_testing {
namespace {

struct Problem {
  Strided features;
  std::vector<int32_t> sources, targets;

  // Every other row from `first` on is a source.
  Problem(uint32_t seed, int64_t rows, int64_t cols) : features(rows, cols) {
    Random random(seed);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < cols; ++c) features.view().Row(r)[c] = random.Uniform(-1, 1);
      (random.Uniform(0, 1) < 0.5f ? sources : targets).push_back(static_cast<int32_t>(r));
    }
  }
  std::vector<Match> Run(const Exec& exec, const MatchRange& range = {},
                         int64_t wanted = kAllMatches) const {
    return BestMatches(exec, features.view(), sources, targets, range, wanted);
  }
  double Cosine(int32_t a, int32_t b) const {
    double dot = 0, aa = 0, bb = 0;
    for (int64_t c = 0; c < features.view().cols; ++c) {
      const double x = features.At(a, c), y = features.At(b, c);
      dot += x * y;
      aa += x * x;
      bb += y * y;
    }
    return dot / std::sqrt(aa * bb);
  }
};

bool InRange(int32_t source, int32_t target, const MatchRange& range) {
  if (range.forward_only && target < source) return false;
  return range.window == 0 || std::abs(target - source) <= range.window;
}

class MatchTest : public ::testing::Test {};

TEST_F(MatchTest, AgreesWithReference) {
  for (const int64_t cols : {1, 3, 16, 33, 255, 256, 257, 600}) {
    for (const int64_t rows : {2, 3, 25, 64, 130, 301}) {
      for (const MatchRange& range :
           {MatchRange{}, MatchRange{true, 0}, MatchRange{false, 5}, MatchRange{true, 40}}) {
        SCOPED_TRACE(StrCat(rows, " × ", cols, ", window ", range.window));
        const Problem problem(static_cast<uint32_t>(rows * 47 + cols), rows, cols);
        const std::vector<Match> expected = problem.Run(kReference, range);
        const std::vector<Match> actual = problem.Run(Tested(1), range);
        EXPECT_EQ(problem.Run(Tested(3), range), actual);
        const double bound = static_cast<double>(cols + 4) * kRounding;
        for (size_t i = 0; i < actual.size(); ++i) {
          ASSERT_EQ(actual[i].target < 0, expected[i].target < 0);
          if (actual[i].target < 0) continue;
          ASSERT_TRUE(InRange(problem.sources[i], actual[i].target, range));
          ASSERT_NEAR(actual[i].similarity, expected[i].similarity, bound);
          const double cosine = problem.Cosine(problem.sources[i], actual[i].target);
          ASSERT_GE(cosine, expected[i].similarity - 2 * bound);
        }
      }
    }
  }
}

// The reference finds the largest cosine, and says so by its definition.
TEST(Match, TakesTheLargestInRange) {
  for (const MatchRange& range : {MatchRange{}, MatchRange{true, 0}, MatchRange{true, 7}}) {
    const Problem problem(5, 40, 9);
    const std::vector<Match> best = problem.Run(kReference, range);
    for (size_t i = 0; i < best.size(); ++i) {
      double largest = -2;
      for (const int32_t target : problem.targets) {
        if (!InRange(problem.sources[i], target, range)) continue;
        largest = std::max(largest, problem.Cosine(problem.sources[i], target));
      }
      EXPECT_EQ(best[i].target < 0, largest < -1.5);
      if (best[i].target >= 0) {
        EXPECT_NEAR(best[i].similarity, largest, 2 * kRounding);
      }
    }
  }
}

// To the bit: a window only narrows which targets are looked at.
TEST_F(MatchTest, AWindowThatCoversAllChangesNothing) {
  for (const Exec& exec : ReferenceAndTested({1, 2})) {
    const Problem problem(17, 301, 70);
    EXPECT_EQ(problem.Run(exec, {.window = 300}), problem.Run(exec));
    EXPECT_NE(problem.Run(exec, {.window = 20}), problem.Run(exec));
  }
}

// The indices of the `wanted` sources with the most similar matches, of equals the first ones.
std::vector<size_t> MostSimilar(const std::vector<Match>& best, int64_t wanted) {
  std::vector<size_t> order(best.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, std::greater<>(), [&](size_t i) { return best[i].similarity; });
  order.resize(std::min<size_t>(order.size(), wanted));
  return order;
}

// To the bit. Rows in groups that resemble each other, some of them equal, so that much can be left
// out and much ties.
TEST_F(MatchTest, TheWantedOnesAreWhatTheyAreAmongAll) {
  for (const int64_t cols : {5, 64, 65, 300}) {
    Problem problem(static_cast<uint32_t>(cols), 700, cols);
    Random random(3);
    for (int64_t r = 20; r < 700; ++r) {
      const int64_t like = static_cast<int64_t>(random.Uniform(0, 20));
      const float noise = random.Uniform(0, 4) < 1 ? 0 : random.Uniform(0, 2);
      for (int64_t c = 0; c < cols; ++c) {
        const float own = problem.features.At(r, c);
        problem.features.view().Row(r)[c] = problem.features.At(like, c) + noise * own;
      }
    }
    for (const Exec& exec : ReferenceAndTested({1, 3})) {
      for (const MatchRange& range : {MatchRange{}, MatchRange{true, 0}, MatchRange{false, 40}}) {
        const std::vector<Match> all = problem.Run(exec, range);
        for (const int64_t wanted : {0, 1, 20, 150, 340, 1000}) {
          SCOPED_TRACE(StrCat(cols, " columns, ", wanted, " wanted, window ", range.window));
          const std::vector<Match> some = problem.Run(exec, range, wanted);
          for (size_t i = 0; i < all.size(); ++i) {
            ASSERT_LE(some[i].similarity, all[i].similarity);
          }
          const std::vector<size_t> expected = MostSimilar(all, wanted);
          ASSERT_EQ(MostSimilar(some, wanted), expected);
          for (const size_t i : expected) ASSERT_EQ(some[i], all[i]);
        }
      }
    }
  }
}

// Equal rows tie, whatever tile or panel they fall into, and the first one is taken.
TEST(Match, TheFirstOfEqualsIsTaken) {
  for (const Exec& exec : ReferenceAndTested({1, 2})) {
    Problem problem(11, 200, 300);
    for (const int32_t target : problem.targets) {
      for (int64_t c = 0; c < 300; ++c) problem.features.view().Row(target)[c] = float(c % 7 - 3);
    }
    for (const Match& match : problem.Run(exec)) EXPECT_EQ(match.target, problem.targets[0]);
  }
}

TEST(Match, RowsWithoutADirectionHaveCosineZero) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
  const Shared<float> rows = {1, 0, 0, 0, kNaN, 1, -1, 0, kInf, 0, 0, 2};
  const std::vector<int32_t> sources = {0, 1, 2}, targets = {3, 4, 5};
  for (const Exec& exec : ReferenceAndTested({1, 2})) {
    const std::vector<Match> best = BestMatches(exec, {rows.data(), 6, 2}, sources, targets, {});
    // Of row 0: −1, 0 by infinity, 0 by a right angle. Rows 1 and 2: 0 with all.
    EXPECT_EQ(best, (std::vector<Match>{{4, 0}, {3, 0}, {3, 0}}));
  }
}

TEST(Match, ACallersMistakeIsFound) {
  const Shared<float> rows(8, 1);
  const MatView<const float> view(rows.data(), 4, 2);
  const auto run = [&](std::vector<int32_t> sources, std::vector<int32_t> targets) {
    BestMatches(kReference, view, sources, targets, {});
  };
  EXPECT_NO_THROW(run({0, 2}, {1, 3}));
  EXPECT_THROW(run({2, 0}, {1}), Error);
  EXPECT_THROW(run({0}, {4}), Error);
  EXPECT_THROW(run({-1}, {1}), Error);
  EXPECT_THROW(run({0, 1}, {1, 2}), Error);
}

}  // namespace
}  // namespace pith::ops_testing
