// The published code's real behaviour (docs/reductions.md, "As published"). Its UTRC plan is
// derived here from its own algorithm - sort every channel alone, take inner products of the sorted
// ranks, keep the best - on random activations, so that the content-free preset is shown to be what
// that algorithm does, not assumed. Then its arithmetic, by channel, and its lengths.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "ops/apply_plan.h"
#include "reduce/reducer.h"
#include "reduce/registry.h"
#include "tests/reduce/test_site.h"

namespace pith {
namespace {

using test::TestSite;

Plan MakePlan(const std::string& name, const std::map<std::string, std::string>& params,
              const SiteView& view, int64_t remove) {
  return FindMethod(name).make(ParamReader(name, params))->MakePlan(view, remove);
}

std::vector<int32_t> Rows(const Plan& plan) {
  std::vector<int32_t> rows;
  for (const Plan::Removed& r : plan.removed) rows.push_back(r.row);
  return rows;
}

struct Derived {
  std::vector<int32_t> removed;
  std::vector<int32_t> targets;
};

// bipartite_hybrid_* with metric "clip", for h [n, d].
Derived PublishedUtrc(std::vector<std::vector<double>> h, int remove) {
  const int n = static_cast<int>(h.size()), d = static_cast<int>(h[0].size());
  for (auto& row : h) {
    double norm = 0;
    for (double& v : row) {
      v = std::max(v, 0.0);
      norm += v * v;
    }
    if (norm > 0) {
      for (double& v : row) v /= std::sqrt(norm);
    }
  }
  for (int c = 0; c < d; ++c) {  // every channel alone, largest first
    std::vector<double> column;
    for (const auto& row : h) column.push_back(row[c]);
    std::sort(column.begin(), column.end(), std::greater<>());
    for (int t = 0; t < n; ++t) h[t][c] = column[t];
  }
  const int half = n / 2;
  std::vector<std::pair<double, int>> best;  // of each later rank: the product, the earlier rank
  for (int i = half; i < n; ++i) {
    std::pair<double, int> top = {-1, -1};
    for (int j = 0; j < half; ++j) {
      double dot = 0;
      for (int c = 0; c < d; ++c) dot += h[i][c] * h[j][c];
      if (dot > top.first) top = {dot, j};
    }
    best.push_back(top);
  }
  std::vector<int> order(best.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int>(i);
  std::stable_sort(order.begin(), order.end(),
                   [&](int a, int b) { return best[a].first > best[b].first; });
  order.resize(remove);
  Derived out;
  for (int i : order) {  // ranks are then read as even and odd positions
    out.removed.push_back(2 * i);
    out.targets.push_back(2 * best[i].second + 1);
  }
  std::sort(out.removed.begin(), out.removed.end());
  return out;
}

TEST(UtrcPublished, IsWhatTheAlgorithmDoesWhateverTheActivations) {
  for (const auto& [n, remove] : {std::pair{16, 1}, std::pair{64, 6}}) {
    const TestSite site(n, 1);
    const Plan plan = MakePlan("utrc-published", {}, site.View(Device::kReference, 1, 0), remove);
    for (uint64_t seed = 0; seed < 50; ++seed) {
      std::mt19937_64 rng(seed);
      std::normal_distribution<double> normal;
      std::vector<double> bias(24);
      for (double& b : bias) b = seed % 2 ? normal(rng) : 0;
      std::vector<std::vector<double>> h(n, bias);
      for (auto& row : h) {
        for (double& v : row) v += normal(rng);
      }
      const Derived derived = PublishedUtrc(h, remove);
      EXPECT_EQ(derived.removed, Rows(plan)) << n << ", seed " << seed;
      EXPECT_EQ(derived.targets, std::vector<int32_t>(remove, 1));
    }
    for (const Plan::Removed& r : plan.removed) EXPECT_EQ(r.target, 1);
  }
}

TEST(UtrcPublished, RemovesThePublishedRows) {
  const TestSite small(16, 1), large(64, 2);
  EXPECT_EQ(Rows(MakePlan("utrc-published", {}, small.View(Device::kReference, 1, 0), 1)),
            (std::vector<int32_t>{0}));
  EXPECT_EQ(Rows(MakePlan("utrc-published", {}, large.View(Device::kReference, 1, 0), 6)),
            (std::vector<int32_t>{0, 2, 4, 6, 8, 10}));
}

// Values are small integers: sums are exact, and each mean has one rounding.
TEST(UtrcPublished, ArithmeticOfRowOne) {
  constexpr int64_t kRows = 20, kCols = 5;
  for (int r : {1, 2, 3, 6, 7}) {
    std::mt19937_64 rng(r);
    std::vector<float> x(kRows * kCols);
    for (float& v : x) v = static_cast<float>(static_cast<int>(rng() % 41) - 20);
    const TestSite site(kRows, 1);
    for (const char* strategy : {"hybrid", "merge", "prune"}) {
      const Plan plan = MakePlan("utrc-published", {{"hidden", strategy}, {"residual", strategy}},
                                 site.View(Device::kReference, 1, 0), r);
      for (Branch branch : {Branch::kHidden, Branch::kResidual}) {
        std::vector<float> out = x;
        ApplyPlan({.device = Device::kReference}, plan, branch, {out.data(), kRows, kCols});
        for (int64_t c = 0; c < kCols; ++c) {
          std::vector<float> sources;
          for (int i = 0; i < r; ++i) sources.push_back(x[2 * i * kCols + c]);
          std::sort(sources.begin(), sources.end(), std::greater<>());
          const int used = *strategy == 'h' ? r / 2 : (*strategy == 'm' ? r : 0);
          float sum = x[kCols + c];
          for (int i = 0; i < used; ++i) sum += sources[i];
          EXPECT_EQ(out[c], sum / static_cast<float>(1 + used)) << strategy << ' ' << r;
        }
        // Row 3 (or 2, where it stays) follows with its bits.
        const int next = r > 1 ? 3 : 2;
        for (int64_t c = 0; c < kCols; ++c) EXPECT_EQ(out[kCols + c], x[next * kCols + c]);
      }
    }
  }
}

TEST(UtrcPublished, DefaultsAreHybridAndMerge) {
  const TestSite site(64, 1);
  const SiteView view = site.View(Device::kReference, 1, 4);
  const Plan plan = MakePlan("utrc-published", {}, view, 6);
  EXPECT_EQ(plan.hidden_rule, MergeRule::kTopChannels);
  EXPECT_EQ(plan.residual_rule, MergeRule::kMean);
  EXPECT_EQ(Rows(plan), Rows(MakePlan("prefix-thin", {}, view, 6)));
}

TEST(PublishedLengths, CeilChain) {
  const Reducer reducer(
      ReductionSpec::Parse("utrc-published:keep=0.905,lengths=published,protect=0"),
      test::Mamba2Config(2560, 64));
  std::vector<int64_t> lengths;
  for (const SiteLength& site : reducer.Lengths(1000).sites) lengths.push_back(site.out);
  EXPECT_EQ(lengths, (std::vector<int64_t>{905, 820, 743, 673, 610, 553, 501}));
  // Nothing is removed below 11 tokens.
  EXPECT_EQ(reducer.Lengths(10).realised, 0);
  EXPECT_EQ(reducer.Lengths(11).sites[0].out, 10);
}

// The published EViT keeps one row more than asked at each site; its realised reductions by length.
TEST(PublishedLengths, EvitKeepsOneMore) {
  const Reducer reducer(ReductionSpec::Parse("evit:keep=0.905,lengths=published,mode=published,"
                                             "protect=1"),
                        test::Mamba2Config(2560, 64));
  const std::vector<std::pair<int64_t, double>> published = {{16, 0},    {20, 0},     {32, .148},
                                                             {64, .226}, {100, .250}, {1000, .294}};
  for (const auto& [tokens, realised] : published) {
    EXPECT_NEAR(reducer.Lengths(tokens).realised, realised, .0005) << tokens;
  }
}

TEST(EvitPublished, DropsTheFiveHighestOfSixtyFour) {
  TestSite site(64, 1);
  std::mt19937_64 rng(3);
  std::iota(site.importance.begin(), site.importance.end(), 0.0f);
  std::shuffle(site.importance.begin(), site.importance.end(), rng);
  const Plan plan =
      MakePlan("evit", {{"mode", "published"}}, site.View(Device::kReference, 1, 0), 5);
  for (int32_t row = 0; row < 64; ++row) {
    const std::vector<int32_t> rows = Rows(plan);
    EXPECT_EQ(std::ranges::count(rows, row), site.importance[row] >= 59) << row;
  }
  EXPECT_EQ(FindMethod("evit")
                .make(ParamReader("evit", {{"mode", "published"}}))
                ->Needs()
                .importance_from,
            Source::kHidden);
}

// Sources by position, targets by similarity: a literal example. Even rows 0, 2, 4 look at odd rows
// 1, 3, 5; similarities rise from row 0 to row 4.
TEST(PumerPublished, MismatchesPairs) {
  TestSite site(6, 1);
  std::fill(site.features.begin(), site.features.end(), 0.0f);
  const auto set = [&](int row, float a, float b) {
    site.features[row * test::kWidth + row / 2 * 2] = a;
    site.features[row * test::kWidth + row / 2 * 2 + 1] = b;
  };
  set(1, 1, 0), set(3, 1, 0), set(5, 1, 0);
  set(0, 1, 3), set(2, 1, 2), set(4, 1, 1);
  const SiteView view = site.View(Device::kReference, 1, 0);
  const auto targets = [&](const char* mode) {
    std::vector<std::pair<int, int>> pairs;
    for (const auto& r : MakePlan("pumer", {{"mode", mode}}, view, 3).removed) {
      pairs.emplace_back(r.row, r.target);
    }
    return pairs;
  };
  EXPECT_EQ(targets("fixed"), (std::vector<std::pair<int, int>>{{0, 1}, {2, 3}, {4, 5}}));
  EXPECT_EQ(targets("published"), (std::vector<std::pair<int, int>>{{0, 5}, {2, 3}, {4, 1}}));
}

}  // namespace
}  // namespace pith
