// EViT, ToMe, PuMer, LTMP and span-drop, each against a direct reading of its definition in double
// precision, with scans in place of sorts. Inputs tie often and have exact cosines (test_site.h),
// so plans must be equal, ties included.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>

#include "core/error.h"
#include "reduce/ltmp.h"
#include "reduce/registry.h"
#include "tests/reduce/ltmp_file.h"
#include "tests/reduce/test_site.h"

namespace pith {
namespace {

using test::TestSite;
using Params = std::map<std::string, std::string>;

Plan MakePlan(const std::string& name, const Params& params, const SiteView& view, int64_t remove) {
  return test::MakeSetup(name, params).policy->MakePlan(view, remove);
}

// `count` of `from`, each the one with the least key left, of equals the first; in order of choice.
template <class Key>
std::vector<int> Lowest(std::vector<int> from, int64_t count, Key key) {
  std::vector<int> chosen;
  while (static_cast<int64_t>(chosen.size()) < count) {
    size_t best = 0;
    for (size_t i = 1; i < from.size(); ++i) {
      if (key(from[i]) < key(from[best])) best = i;
    }
    chosen.push_back(from[best]);
    from.erase(from.begin() + best);
  }
  return chosen;
}

std::vector<int> Range(int begin, int end, int step = 1) {
  std::vector<int> rows;
  for (int r = begin; r < end; r += step) rows.push_back(r);
  return rows;
}

Plan Pruned(std::vector<int> rows) {
  std::sort(rows.begin(), rows.end());
  return PrunePlan({rows.begin(), rows.end()});
}

struct Pair {
  int target = -1;
  double similarity = -2;
};

// The best of rows first + 1, first + 3, … for row `a`.
Pair BestOdd(const TestSite& site, int a, int first, int eligible) {
  const auto cosine = [&](int x, int y) {
    double dot = 0, xx = 0, yy = 0;
    for (int c = 0; c < test::kWidth; ++c) {
      const double u = site.features[x * test::kWidth + c], v = site.features[y * test::kWidth + c];
      dot += u * v, xx += u * u, yy += v * v;
    }
    return xx == 0 || yy == 0 ? 0 : dot / (std::sqrt(xx) * std::sqrt(yy));
  };
  Pair best;
  for (int b = first + 1; b < eligible; b += 2) {
    if (cosine(a, b) > best.similarity) best = {b, cosine(a, b)};
  }
  return best;
}

Plan BruteMerge(const TestSite& site, int first, int eligible, int64_t count) {
  std::vector<int> sources = Range(first, eligible, 2);
  const auto key = [&](int a) { return -BestOdd(site, a, first, eligible).similarity; };
  sources = Lowest(sources, count, key);
  std::sort(sources.begin(), sources.end());
  Plan plan;
  for (int a : sources) {
    const int target = BestOdd(site, a, first, eligible).target;
    plan.removed.push_back({a, target, target >= 0, target >= 0});
  }
  return plan;
}

void ForSites(const std::function<void(const TestSite&, int, int64_t)>& check) {
  for (int rows : {2, 3, 5, 16, 31, 64, 65}) {
    for (uint64_t seed = 0; seed < 4; ++seed) {
      const TestSite site(rows, 100 * rows + seed);
      for (int protect : {0, 4}) {
        const int64_t max = MaxRemovable(Limit::kHalf, rows, protect);
        for (int64_t remove : {max / 3, max / 2, max}) {
          SCOPED_TRACE(::testing::Message() << rows << ' ' << seed << ' ' << remove);
          if (remove > 0) check(site, protect, remove);
        }
      }
    }
  }
}

TEST(Evit, DropsTheLeastAndPublishedTheMostImportant) {
  ForSites([](const TestSite& site, int protect, int64_t remove) {
    const SiteView view = site.View(Device::kReference, 1, protect);
    const std::vector<int> all = Range(0, static_cast<int>(view.rows) - protect);
    EXPECT_EQ(MakePlan("evit", {}, view, remove),
              Pruned(Lowest(all, remove, [&](int r) { return site.importance[r]; })));
    EXPECT_EQ(MakePlan("evit", {{"mode", "published"}}, view, remove),
              Pruned(Lowest(all, remove, [&](int r) { return -site.importance[r]; })));
  });
}

TEST(Evit, OriginalFusesWhatItDropsIntoTheLastOfThem) {
  ForSites([](const TestSite& site, int protect, int64_t remove) {
    const SiteView view = site.View(Device::kReference, 1, protect);
    std::vector<int> dropped = Lowest(Range(0, static_cast<int>(view.rows) - protect), remove + 1,
                                      [&](int r) { return site.importance[r]; });
    std::sort(dropped.begin(), dropped.end());
    const Plan plan = MakePlan("evit", {{"mode", "original"}}, view, remove);
    ASSERT_EQ(static_cast<int64_t>(plan.removed.size()), remove);
    double sum = 0, weights = 0;
    for (int r : dropped) sum += site.importance[r], weights += plan.weights[r];
    for (int r : dropped) {
      // Weights in proportion to importance; all alike where none has any. One rounding each.
      const double share = sum > 0 ? site.importance[r] / sum : 1.0 / (remove + 1);
      EXPECT_NEAR(plan.weights[r] / weights, share, 1e-6);
    }
    for (size_t i = 0; i < plan.removed.size(); ++i) {
      EXPECT_EQ(plan.removed[i], (Plan::Removed{dropped[i], dropped.back(), true, true}));
    }
  });
}

TEST(Tome, MergesEvenIntoOddBySize) {
  ForSites([](const TestSite& site, int protect, int64_t remove) {
    const SiteView view = site.View(Device::kReference, 1, protect);
    Plan expected = BruteMerge(site, 0, static_cast<int>(view.rows) - protect, remove);
    expected.weights = site.sizes;
    EXPECT_EQ(MakePlan("tome", {}, view, remove), expected);
  });
}

TEST(Pumer, FixedAndOriginal) {
  ForSites([](const TestSite& site, int protect, int64_t remove) {
    const SiteView view = site.View(Device::kReference, 1, protect);
    const int eligible = static_cast<int>(view.rows) - protect;
    EXPECT_EQ(MakePlan("pumer", {}, view, remove), BruteMerge(site, 0, eligible, remove));
    EXPECT_EQ(MakePlan("pumer", {{"mode", "original"}}, view, remove),
              BruteMerge(site, 1, eligible, remove));
  });
}

TEST(Pumer, CausalAndWindowedMergesStayAhead) {
  const TestSite site(65, 3);
  for (const char* name : {"tome", "pumer", "ltmp"}) {
    const Plan plan = MakePlan(name, {{"causal", "content"}, {"window", "5"}},
                               site.View(Device::kReference, 1, 4), 30);
    int merged = 0;
    for (const Plan::Removed& r : plan.removed) {
      merged += r.target >= 0;
      EXPECT_TRUE(r.target < 0 || (r.target > r.row && r.target <= r.row + 5)) << name;
    }
    EXPECT_GT(merged, 0) << name;
  }
}

TEST(Ltmp, FixedMergesHalfThenPrunes) {
  ForSites([](const TestSite& site, int protect, int64_t remove) {
    const SiteView view = site.View(Device::kReference, 1, protect);
    const int eligible = static_cast<int>(view.rows) - protect;
    Plan expected = BruteMerge(site, 0, eligible, remove / 2);
    std::vector<float> importance = site.importance;
    std::vector<int> left = Range(0, eligible);
    for (const Plan::Removed& r : expected.removed) {
      importance[r.target] = std::max(importance[r.target], site.importance[r.row]);
      std::erase(left, r.row);
    }
    for (int row : Lowest(left, remove - remove / 2, [&](int r) { return importance[r]; })) {
      for (Plan::Removed& r : expected.removed) {
        if (r.target == row) r = {.row = r.row};
      }
      expected.removed.push_back({.row = row});
    }
    std::ranges::sort(expected.removed, {}, &Plan::Removed::row);
    expected.weights = site.sizes;
    EXPECT_EQ(MakePlan("ltmp", {}, view, remove), expected);
  });
}

class LtmpFile : public ::testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove(path_); }
  const std::string path_ = ::testing::TempDir() + "ltmp_thresholds_test.json";
};

TEST_F(LtmpFile, ThresholdsRoundTripAndDecide) {
  const LtmpThresholds written{.keep = 0.8,
                               .protect = 4,
                               .options = {{"importance", "l1"}},
                               .sites = {{3, 0.1f, 2}, {5, 0.7, 3}}};
  test::WriteLtmp(written, path_);
  const LtmpThresholds read = LtmpThresholds::Read(path_);
  EXPECT_EQ(read.keep, written.keep);
  EXPECT_EQ(read.protect, written.protect);
  EXPECT_EQ(read.options, written.options);
  EXPECT_EQ(read.sites[0].merge, static_cast<double>(0.1f));

  const Params params = {{"importance", "l1"}, {"thresholds", path_}};
  const PolicySetup setup = test::MakeSetup("ltmp", params);
  EXPECT_TRUE(setup.counts_vary);
  const auto refusal = [&](const char* schedule) {
    const std::string spec = StrCat("ltmp:importance=l1,thresholds=", path_, ",", schedule);
    return test::MessageOf([&] { test::Compile(spec, test::Mamba2Facts(768, 24)); });
  };
  EXPECT_EQ(refusal("sites=3+5,keep=0.8"), "");
  EXPECT_NE(refusal("sites=3+6,keep=0.8").find("sites 3+5"), std::string::npos);
  EXPECT_NE(refusal("sites=3+5,keep=0.7").find("keep=0.8"), std::string::npos);
  const std::string message = refusal("sites=3+5,keep=0.8,protect=9");
  for (const std::string& part : {path_, std::string("protect=4"), std::string("protect=9")}) {
    EXPECT_NE(message.find(part), message.npos) << message;
  }
  EXPECT_THROW(test::MakeSetup("ltmp", {{"thresholds", path_}}), Error);

  for (int protect : {0, 4}) {
    const TestSite site(65, 9);
    const Plan plan = setup.policy->MakePlan(site.View(Device::kReference, 1, protect, 5), 0);
    const int eligible = 65 - protect;
    std::vector<float> importance = site.importance;
    std::vector<int> into(65, -1);
    for (int a = 0; a < eligible; a += 2) {
      const Pair pair = BestOdd(site, a, 0, eligible);
      if (pair.similarity <= 0.7) continue;
      into[a] = pair.target;
      importance[pair.target] = std::max(importance[pair.target], site.importance[a]);
    }
    size_t next = 0;
    for (int row = 0; row < 65; ++row) {
      const bool pruned = row < eligible && into[row] < 0 && importance[row] <= 3;
      if (!pruned && into[row] < 0) continue;
      ASSERT_LT(next, plan.removed.size());
      const int target = pruned || importance[into[row]] <= 3 ? -1 : into[row];
      EXPECT_EQ(plan.removed[next++], (Plan::Removed{row, target, target >= 0, target >= 0}));
    }
    EXPECT_EQ(next, plan.removed.size());
  }
}

TEST_F(LtmpFile, LeavesARowAtLeast) {
  test::WriteLtmp({.keep = 0.8, .protect = 0, .options = {}, .sites = {{5, -2, 1e30}}}, path_);
  const Params params = {{"thresholds", path_}};
  const auto policy = test::MakeSetup("ltmp", params).policy;
  for (int rows : {1, 2, 7}) {
    const TestSite site(rows, 1);
    const Plan plan = policy->MakePlan(site.View(Device::kReference, 1, 0), 0);
    EXPECT_EQ(static_cast<int>(plan.removed.size()), rows - 1);
    EXPECT_NO_THROW(CheckPlan(plan, rows));
  }
}

TEST_F(LtmpFile, RefusalsNameFileAndField) {
  for (const auto& [text, part] : std::map<std::string, std::string>{
           {"{}", "format"},
           {R"({"format":"pith-ltmp-1","keep":0,"options":{},"sites":[]})", "keep"},
           {R"({"format":"pith-ltmp-1","keep":0.9,"options":{},"sites":[]})", "protect"},
           {R"({"format":"pith-ltmp-1","keep":0.9,"protect":-1,"options":{},"sites":[]})",
            "protect"},
           {R"({"format":"pith-ltmp-1","keep":0.9,"protect":4,"options":[],"sites":[]})",
            "options"},
           {R"({"format":"pith-ltmp-1","keep":0.9,"protect":4,"options":{},"sites":[]})", "sites"},
           {R"({"format":"pith-ltmp-1","keep":0.9,"protect":4,"options":{},
               "sites":[{"layer":-1,"merge":0,"prune":0}]})",
            "layer"},
           {R"({"format":"pith-ltmp-1","keep":0.9,"protect":4,"options":{},
               "sites":[{"layer":1,"merge":Infinity,"prune":0}]})",
            "merge"}}) {
    std::ofstream(path_) << text;
    const std::string message = test::MessageOf([&] { LtmpThresholds::Read(path_); });
    EXPECT_NE(message.find(path_), message.npos) << message;
    EXPECT_NE(message.find(part), message.npos) << message;
  }
}

// 9 spans of 32 positions and some: the first is protected, as are the last 40 rows.
TEST(SpanDrop, DropsSpansOfLowestMeanAndCutsOneInPart) {
  TestSite site(300, 4);
  std::erase_if(site.positions, [](int p) { return p % 7 == 3; });  // an earlier site's work
  const auto rows = static_cast<int>(site.positions.size());
  site.importance.resize(rows);
  const int64_t most = MaxRemovable(Limit::kAllBut, rows, 40 + 32);
  for (const char* score : {"rarity", "delta", "tail-query"}) {
    const double sign = std::string(score) == "delta" ? -1 : 1;
    for (int64_t remove : {int64_t{1}, int64_t{50}, int64_t{100}, most}) {
      SiteView view = site.View(Device::kReference, 1, 40);
      std::map<int, std::vector<int>> spans;
      for (int r = 0; r < rows - 40; ++r) {
        if (site.positions[r] >= 32) spans[site.positions[r] / 32].push_back(r);
      }
      std::vector<int> ids;
      for (const auto& [id, members] : spans) ids.push_back(id);
      ids = Lowest(ids, static_cast<int64_t>(ids.size()), [&](int id) {
        double sum = 0;
        for (int r : spans[id]) sum += site.importance[r];
        return sign * sum / static_cast<double>(spans[id].size());
      });
      std::vector<int> expected;
      for (int id : ids) {
        for (int r : spans[id]) {
          if (static_cast<int64_t>(expected.size()) < remove) expected.push_back(r);
        }
      }
      EXPECT_EQ(MakePlan("span-drop", {{"score", score}}, view, remove), Pruned(expected));
    }
  }
}

TEST(SpanDrop, RandomDropsWholeSpansBySeed) {
  const TestSite site(300, 4);
  const SiteView view = site.View(Device::kReference, 1, 40);
  const auto plan = [&](const char* seed) {
    return MakePlan("span-drop", {{"score", "random"}, {"seed", seed}}, view, 96);
  };
  EXPECT_EQ(plan("1"), plan("1"));
  EXPECT_NE(plan("1"), plan("2"));
  std::map<int, int> taken;
  for (const Plan::Removed& r : plan("1").removed) ++taken[r.row / 32];
  EXPECT_LE(taken.size(), 4u);  // three whole ones, or the short last one among them
}

}  // namespace
}  // namespace pith
