// UTRC against an independent, brute-force reading of its pseudocode in double precision. Inputs
// have exact cosines (test_site.h), so plans must be equal, ties included.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "ops/backend.h"
#include "ops/importance.h"
#include "reduce/edges.h"
#include "reduce/registry.h"
#include "tests/reduce/test_site.h"

namespace pith {
namespace {

using test::TestSite;
using Params = std::map<std::string, std::string>;

Plan Utrc(const Params& params, const SiteView& view, int64_t remove) {
  return test::MakeSetup("utrc", params).policy->MakePlan(view, remove);
}

double Cosine(const TestSite& site, int a, int b) {
  double dot = 0, aa = 0, bb = 0;
  for (int c = 0; c < test::kWidth; ++c) {
    const double x = site.features[a * test::kWidth + c], y = site.features[b * test::kWidth + c];
    dot += x * y;
    aa += x * x;
    bb += y * y;
  }
  return aa == 0 || bb == 0 ? 0 : dot / (std::sqrt(aa) * std::sqrt(bb));
}

struct Brute {
  double q_hidden = 0.5;
  double q_residual = 0;
  std::string prune = "least-important";
  bool causal = false;
  int window = 0;

  struct Candidate {
    int a = 0, f = -1;
    double s = 0, g = -2;
  };

  // Each choice is a scan for the best remaining candidate; a later one must be strictly better.
  template <class Better>
  static std::vector<Candidate> Pick(std::vector<Candidate> from, int64_t count, Better better) {
    std::vector<Candidate> picked;
    for (int64_t n = 0; n < count; ++n) {
      size_t best = 0;
      for (size_t i = 1; i < from.size(); ++i) {
        if (better(from[i], from[best])) best = i;
      }
      picked.push_back(from[best]);
      from.erase(from.begin() + best);
    }
    return picked;
  }

  bool PrunedBefore(const Candidate& x, const Candidate& y) const {
    if ((x.f < 0) != (y.f < 0)) return x.f < 0;
    if (prune == "least-important") return x.s < y.s;
    return prune == "least-similar" ? x.g < y.g : x.g > y.g;
  }

  Plan operator()(const TestSite& site, int64_t protect, int64_t remove) const {
    const int eligible = static_cast<int>(site.positions.size()) - static_cast<int>(protect);
    const auto before = [&](int x, int y) {  // less important
      const double sx = site.importance[x], sy = site.importance[y];
      return sx < sy || (sx == sy && x < y);
    };
    std::vector<Candidate> edges;
    for (int a = 0; a < eligible; ++a) {
      const auto rank = [&](int t) {
        int r = 0;
        for (int u = 0; u < eligible; ++u) r += before(u, t);
        return r;
      };
      if (rank(a) >= eligible / 2) continue;
      Candidate edge{.a = a, .s = site.importance[a]};
      for (int b = 0; b < eligible; ++b) {
        if (rank(b) < eligible / 2 || (causal && b < a)) continue;
        if (window && std::abs(a - b) > window) continue;
        if (Cosine(site, a, b) > edge.g) edge = {edge.a, b, edge.s, Cosine(site, a, b)};
      }
      edges.push_back(edge);
    }
    edges = Pick(edges, remove, [](const auto& x, const auto& y) { return x.g > y.g; });
    std::sort(edges.begin(), edges.end(), [](const auto& x, const auto& y) { return x.a < y.a; });
    edges = Pick(edges, remove, [&](const auto& x, const auto& y) { return PrunedBefore(x, y); });
    const int64_t hidden = remove - static_cast<int64_t>(std::floor((1 - q_hidden) * remove));
    const int64_t residual = remove - static_cast<int64_t>(std::floor((1 - q_residual) * remove));
    Plan plan;
    for (int64_t i = 0; i < remove; ++i) {
      const bool h = edges[i].f >= 0 && i >= hidden, x = edges[i].f >= 0 && i >= residual;
      plan.removed.push_back({edges[i].a, h || x ? edges[i].f : -1, h, x});
    }
    std::sort(plan.removed.begin(), plan.removed.end(),
              [](const auto& x, const auto& y) { return x.row < y.row; });
    return plan;
  }
};

void Compare(const Params& params, const Brute& brute) {
  for (int64_t rows : {1, 2, 3, 5, 16, 31, 64, 65, 257}) {
    for (uint64_t seed = 0; seed < (rows < 100 ? 8 : 1); ++seed) {
      const TestSite site(rows, 1000 * rows + seed);
      for (int64_t protect : {0, 4}) {
        const int64_t max = MaxRemovable(Limit::kHalf, rows, protect);
        for (int64_t remove : {int64_t{0}, max / 4, max / 2, max}) {
          const Plan expected = remove == 0 ? Plan() : brute(site, protect, remove);
          for (Device device : testing::ReferenceAndTested()) {
            EXPECT_EQ(Utrc(params, site.View(device, 1, protect), remove), expected)
                << rows << " rows, seed " << seed << ", " << remove << " removed";
          }
        }
      }
    }
  }
}

TEST(Utrc, EqualsBruteForceByDefault) { Compare({}, {}); }
TEST(Utrc, EqualsBruteForceWithQ) {
  Compare({{"q-hidden", "0.25"}, {"q-residual", "0.75"}}, {.q_hidden = 0.25, .q_residual = 0.75});
  Compare({{"q-hidden", "1"}, {"q-residual", "1"}}, {.q_hidden = 1, .q_residual = 1});
}
TEST(Utrc, EqualsBruteForceForEachPruneOrder) {
  Compare({{"prune", "least-similar"}}, {.prune = "least-similar"});
  Compare({{"prune", "most-similar"}}, {.prune = "most-similar"});
}
TEST(Utrc, EqualsBruteForceWithLimitedTargets) {
  Compare({{"causal", "content"}}, {.causal = true});
  Compare({{"window", "3"}}, {.window = 3});
  Compare({{"window", "40"}, {"causal", "content"}}, {.causal = true, .window = 40});
}

TEST(Utrc, CausalMergesOnlyForward) {
  const TestSite site(257, 3);
  const Plan plan = Utrc({{"causal", "content"}}, site.View(Device::kReference, 1, 4), 126);
  for (const Plan::Removed& r : plan.removed) EXPECT_TRUE(r.target < 0 || r.target > r.row);
}

// The same edges go whatever is pruned; a draw decides which of them merge, by seed.
TEST(Utrc, RandomPruningChangesOnlyWhatMerges) {
  const TestSite site(65, 3);
  const SiteView view = site.View(Device::kReference, 1, 4);
  const Plan one = Utrc({{"prune", "random"}, {"seed", "1"}}, view, 20);
  const Plan two = Utrc({{"prune", "random"}, {"seed", "2"}}, view, 20);
  EXPECT_NE(one, two);
  int merged = 0;
  for (size_t i = 0; i < 20; ++i) {
    EXPECT_EQ(one.removed[i].row, two.removed[i].row);
    merged += one.removed[i].merge_hidden;
  }
  EXPECT_EQ(merged, 10);
}

TEST(Utrc, ScoresThatAreNoNumbersRankLowestAndMatchNothing) {
  TestSite site(64, 5), lowest(64, 5);
  for (int row : {3, 17, 40}) {
    site.importance[row] = std::numeric_limits<float>::quiet_NaN();
    lowest.importance[row] = -std::numeric_limits<float>::infinity();
    site.features[row * test::kWidth] = row == 17 ? std::numeric_limits<float>::infinity()
                                                  : std::numeric_limits<float>::quiet_NaN();
    std::fill_n(&lowest.features[row * test::kWidth], test::kWidth, 0.0f);
  }
  EXPECT_EQ(Utrc({}, site.View(Device::kReference, 1, 4), 20),
            Utrc({}, lowest.View(Device::kReference, 1, 4), 20));
}

TEST(Utrc, PrunedEdgesRoundsUpForEveryPercentage) {
  for (int64_t percent = 0; percent <= 100; ++percent) {
    const double q = std::stod("0." + std::to_string(1000 + 10 * percent).substr(1));
    for (int64_t edges = 0; edges <= 2000; ++edges) {
      const int64_t kept = (100 - percent) * edges / 100;
      ASSERT_EQ(PrunedEdges(percent == 100 ? 1.0 : q, edges), edges - kept) << percent;
    }
  }
}

TEST(Importance, MeansOfEachKind) {
  // 11 channels: one whole group of partial sums and a tail. Small integers: every sum is exact.
  const std::vector<float> rows = {1,  -2, 3,  -4, 5,  -6, 7,  -8, 9,  -10, 11,  //
                                   -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,  -1,  //
                                   0,  0,  0,  0,  0,  0,  0,  0,  0,  0,   0};
  const MatView<const float> view(rows.data(), 3, 11);
  const auto importance = [&](ImportanceKind kind) {
    std::vector<float> out(3);
    RowImportance(ExecOn(Device::kReference), kind, view, {out.data(), 3});
    return out;
  };
  EXPECT_EQ(importance(ImportanceKind::kClip), (std::vector<float>{36.0f / 11, 0, 0}));
  EXPECT_EQ(importance(ImportanceKind::kNoClip), (std::vector<float>{6.0f / 11, -1, 0}));
  EXPECT_EQ(importance(ImportanceKind::kL1), (std::vector<float>{66.0f / 11, 1, 0}));
  EXPECT_EQ(importance(ImportanceKind::kL2),
            (std::vector<float>{static_cast<float>(std::sqrt(506.0 / 11)), 1, 0}));
}

TEST(Importance, DependsOnTheRowAloneAndKeepsNaN) {
  constexpr int64_t kRows = 100, kCols = 37;
  std::mt19937_64 rng(1);
  testing::Shared<float> data(kRows * kCols);
  for (float& v : data) v = std::ldexp(static_cast<float>(rng() % 1000) - 500, rng() % 20);
  data[5 * kCols + 36] = std::numeric_limits<float>::quiet_NaN();
  const MatView<const float> all(data.data(), kRows, kCols);
  for (ImportanceKind kind :
       {ImportanceKind::kClip, ImportanceKind::kNoClip, ImportanceKind::kL1, ImportanceKind::kL2}) {
    testing::Shared<float> whole(kRows);
    RowImportance(ExecOn(testing::DeviceUnderTest(), 2), kind, all, {whole.data(), kRows});
    EXPECT_TRUE(std::isnan(whole[5]));
    for (int64_t r = 0; r < kRows; ++r) {
      testing::Shared<float> alone(1);
      RowImportance(ExecOn(testing::DeviceUnderTest()), kind, all.Rows(r, 1), {alone.data(), 1});
      EXPECT_TRUE(r == 5 || alone[0] == whole[r]);
    }
  }
}

}  // namespace
}  // namespace pith
