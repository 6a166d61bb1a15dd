// Plans made on the device against those that utrc makes on the host, which is their specification.
// Inputs have exact cosines (test_site.h), in f16 too, so plans must be equal in every precision,
// ties included.
#include "ops/pair_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "ops/backend.h"
#include "reduce/edges.h"
#include "reduce/schedule.h"
#include "tests/reduce/test_site.h"

namespace pith {
namespace {

using test::TestSite;
using testing::Shared;
using Params = std::map<std::string, std::string>;

constexpr Precision kPrecisions[] = {Precision::kF32, Precision::kBF16, Precision::kF16};

Exec Tested(Precision precision) { return ExecOn(testing::DeviceUnderTest(), 1, precision); }

#define SKIP_WHERE_THE_HOST_PLANS()                                                      \
  if (!PlansPairs(Tested(Precision::kF32))) {                                            \
    GTEST_SKIP() << testing::DeviceName() << " has no kernel for plans: the host plans"; \
  }

// Sequences at one site, one after the other.
struct Batch {
  Shared<float> importance, features;
  std::vector<PairSequence> sequences;
  std::vector<TestSite> sites;

  void Add(const TestSite& site, int64_t protect, int64_t remove) {
    const auto rows = static_cast<int64_t>(site.positions.size());
    sequences.push_back({.begin = static_cast<int64_t>(importance.size()),
                         .rows = rows,
                         .protected_tail = std::min(protect, rows),
                         .remove = remove});
    importance.insert(importance.end(), site.importance.begin(), site.importance.end());
    features.insert(features.end(), site.features.begin(), site.features.end());
    sites.push_back(site);
  }
  int64_t rows() const { return static_cast<int64_t>(importance.size()); }
};

struct Planned {
  std::vector<Plan> plans;
  std::vector<int32_t> kept;
  bool operator==(const Planned&) const = default;
};

// The rule of utrc with these parameters.
PairRule RuleOf(const Params& params) {
  return test::MakeSetup("utrc", params).policy->Pairs().value();
}

Planned OnDevice(const Params& params, Batch batch, Precision precision) {
  const PairRule rule = RuleOf(params);
  int64_t removed = 0;
  for (PairSequence& s : batch.sequences) {
    s.pruned_hidden = PrunedEdges(rule.q_hidden, s.remove);
    s.pruned_residual = PrunedEdges(rule.q_residual, s.remove);
    removed += s.remove;
  }
  Shared<Plan::Removed> all(removed);
  Shared<int32_t> kept(batch.rows() - removed);
  const Exec exec = Tested(precision);
  PlanPairs(exec, {.range = rule.range,
                   .prune = rule.prune,
                   .sequences = batch.sequences,
                   .importance = {batch.importance.data(), batch.rows()},
                   .features = {batch.features.data(), batch.rows(), test::kWidth},
                   .removed = {all.data(), removed},
                   .kept = {kept.data(), static_cast<int64_t>(kept.size())}});
  exec.backend->Synchronize(exec.queue);
  Planned planned{.plans = {}, .kept = {kept.begin(), kept.end()}};
  auto next = all.begin();
  for (const PairSequence& s : batch.sequences) {
    planned.plans.push_back({.removed = {next, next + s.remove}});
    next += s.remove;
  }
  return planned;
}

Planned OnHost(const Params& params, const Batch& batch) {
  const auto policy = test::MakeSetup("utrc", params).policy;
  Planned planned;
  for (size_t i = 0; i < batch.sites.size(); ++i) {
    const PairSequence& s = batch.sequences[i];
    const SiteView view = batch.sites[i].View(Device::kReference, 1, s.protected_tail);
    const Plan plan = policy->MakePlan(view, s.remove);
    for (int32_t row = 0; row < s.rows; ++row) {
      if (!std::ranges::binary_search(plan.removed, row, {}, &Plan::Removed::row)) {
        planned.kept.push_back(static_cast<int32_t>(s.begin) + row);
      }
    }
    planned.plans.push_back(plan);
  }
  return planned;
}

void Compare(const Params& params) {
  for (const int64_t share : {0, 1, 2, 4}) {  // quarters of what may go
    Batch batch;
    for (const int64_t rows : {1, 2, 3, 5, 16, 31, 64, 65, 257, 700}) {
      for (const int64_t protect : {0, 1, 4}) {
        const int64_t tail = std::min(protect, rows);
        const int64_t most = MaxRemovable(Limit::kHalf, rows, tail);
        batch.Add(TestSite(rows, 1000 * rows + protect), protect, most * share / 4);
      }
    }
    const Planned expected = OnHost(params, batch);
    for (const Precision precision : kPrecisions) {
      EXPECT_EQ(OnDevice(params, batch, precision), expected)
          << share << " quarters, precision " << static_cast<int>(precision);
    }
  }
}

TEST(PairPlan, IsTheHostsByDefault) {
  SKIP_WHERE_THE_HOST_PLANS();
  Compare({});
}

TEST(PairPlan, IsTheHostsForEachQ) {
  SKIP_WHERE_THE_HOST_PLANS();
  Compare({{"q-hidden", "0.25"}, {"q-residual", "0.75"}});
  Compare({{"q-hidden", "0"}, {"q-residual", "1"}});
  Compare({{"q-hidden", "1"}, {"q-residual", "1"}});
}

TEST(PairPlan, IsTheHostsForEachPruneOrder) {
  SKIP_WHERE_THE_HOST_PLANS();
  Compare({{"prune", "least-similar"}});
  Compare({{"prune", "most-similar"}});
}

// Sources without a candidate among them: the first rows of `causal`, and those far from targets.
TEST(PairPlan, IsTheHostsWithLimitedTargets) {
  SKIP_WHERE_THE_HOST_PLANS();
  Compare({{"causal", "content"}});
  Compare({{"window", "1"}});
  Compare({{"window", "40"}, {"causal", "content"}});
  Compare({{"window", "150"}, {"q-hidden", "0.25"}});
}

TEST(PairPlan, RandomPruningStaysOnTheHost) {
  EXPECT_FALSE(test::MakeSetup("utrc", {{"prune", "random"}}).policy->Pairs().has_value());
}

TEST(PairPlan, RowsThatAreNoNumbers) {
  SKIP_WHERE_THE_HOST_PLANS();
  constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
  TestSite site(200, 5);
  for (const int row : {3, 17, 40, 90, 150}) {
    site.importance[row] = row == 40 ? -0.0f : kNaN;
    site.features[row * test::kWidth] = row == 17 ? std::numeric_limits<float>::infinity() : kNaN;
  }
  Batch batch;
  batch.Add(site, 4, 70);
  for (const Precision precision : kPrecisions) {
    EXPECT_EQ(OnDevice({}, batch, precision), OnHost({}, batch));
  }
}

// Thousands of equal rows, so that ranks come from the row's number alone; more than one tile of
// sources and of targets, and more rows than threads of a block.
TEST(PairPlan, AllRowsAlike) {
  SKIP_WHERE_THE_HOST_PLANS();
  TestSite site(3001, 1);
  std::ranges::fill(site.importance, 1.0f);
  std::ranges::fill(site.features, 1.0f);
  Batch batch;
  batch.Add(site, 4, 777);
  batch.Add(TestSite(2500, 2), 4, 1000);
  for (const Precision precision : kPrecisions) {
    EXPECT_EQ(OnDevice({}, batch, precision), OnHost({}, batch));
  }
}

// In 16 bits a similarity is a sum of products of unit rows rounded to f16. An entry errs by 2⁻¹¹
// of itself or, below 2⁻¹⁴, by 2⁻²⁵; with Σ|u v| ≤ 1 and Σ|u| ≤ √n for unit rows, the products err
// by at most 2 · 2⁻¹¹ + 2⁻²² + 2 √n · 2⁻²⁵ together, and their sum in f32, which may cut off what
// it does not hold, by n · 2⁻²³.
double Bound(int64_t cols) {
  const auto n = static_cast<double>(cols);
  return 0x1p-10 + 0x1p-22 + std::sqrt(n) * 0x1p-24 + n * 0x1p-23;
}

// Each source has a target that no other beats by more than both similarities can err.
TEST(PairPlan, SixteenBitTargetsAreAsSimilarAsTheBest) {
  SKIP_WHERE_THE_HOST_PLANS();
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  for (const int64_t cols : {1, 7, 64, 100, 2560}) {
    constexpr int64_t kRows = 601, kRemove = 290;
    Shared<float> importance(kRows), features(kRows * cols);
    for (float& v : importance) v = normal(random);
    for (float& v : features) v = normal(random);
    const PairSequence sequence{.rows = kRows, .protected_tail = 1, .remove = kRemove};
    Shared<Plan::Removed> removed(kRemove);
    Shared<int32_t> kept(kRows - kRemove);
    const MatView<const float> view(features.data(), kRows, cols);
    for (const Precision precision : kPrecisions) {
      const Exec exec = Tested(precision);
      PlanPairs(exec, {.range = {},
                       .sequences = {&sequence, 1},
                       .importance = {importance.data(), kRows},
                       .features = view,
                       .removed = {removed.data(), kRemove},
                       .kept = {kept.data(), kRows - kRemove}});
      exec.backend->Synchronize(exec.queue);
      SiteView site{.rows = kRows,
                    .importance = {importance.data(), importance.size()},
                    .features = view,
                    .protected_tail = 1,
                    .exec = ExecOn(Device::kReference)};
      const std::vector<Edge> edges = ImportanceEdges(site, {});
      // What decides: of the sources that go, each is as similar as those that stay.
      std::vector<float> sorted;
      for (const Edge& edge : edges) sorted.push_back(edge.match.similarity);
      std::ranges::sort(sorted, std::greater<>());
      const double bound =
          precision == Precision::kF32 ? static_cast<double>(cols + 4) * 0x1p-24 : Bound(cols);
      for (const Plan::Removed& r : removed) {
        const auto edge = std::ranges::find(edges, r.row, &Edge::row);
        ASSERT_NE(edge, edges.end()) << "row " << r.row << " is no source";
        ASSERT_GE(edge->match.similarity, sorted[kRemove - 1] - 2 * bound);
        ASSERT_GE(r.target, 0);  // q-residual 0: all merge
        const std::vector<int32_t> source = {r.row}, target = {r.target};
        const Match chosen = BestMatches(site.exec, view, source, target, {})[0];
        ASSERT_GE(chosen.similarity, edge->match.similarity - 2 * bound) << cols << " columns";
      }
    }
  }
}

// The means of ApplyPlan, to the bit, and no other row touched.
TEST(PairPlan, MergesAsApplyPlanDoes) {
  SKIP_WHERE_THE_HOST_PLANS();
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  Batch batch;
  batch.Add(TestSite(900, 1), 4, 400);
  batch.Add(TestSite(1, 2), 1, 0);
  batch.Add(TestSite(1500, 3), 4, 700);
  const Planned planned = OnDevice({{"q-residual", "0.25"}}, batch, Precision::kF32);
  Shared<Plan::Removed> removed;
  for (const Plan& plan : planned.plans) {
    removed.insert(removed.end(), plan.removed.begin(), plan.removed.end());
  }
  for (const int64_t cols : {3, 256, 1300}) {
    for (const Branch branch : {Branch::kHidden, Branch::kResidual}) {
      Shared<float> rows(batch.rows() * cols);
      for (float& v : rows) v = normal(random);
      std::vector<float> expected(rows.begin(), rows.end());
      const Exec exec = Tested(Precision::kF32);
      MergePairs(exec, {.sequences = batch.sequences,
                        .removed = {removed.data(), static_cast<int64_t>(removed.size())},
                        .branch = branch,
                        .rows = {rows.data(), batch.rows(), cols}});
      exec.backend->Synchronize(exec.queue);
      std::vector<float> closed;
      for (size_t i = 0; i < planned.plans.size(); ++i) {
        const PairSequence& s = batch.sequences[i];
        std::vector<float> own(expected.begin() + s.begin * cols,
                               expected.begin() + (s.begin + s.rows) * cols);
        ApplyPlan(ExecOn(Device::kReference), planned.plans[i], branch, {own.data(), s.rows, cols});
        closed.insert(closed.end(), own.begin(), own.begin() + (s.rows - s.remove) * cols);
      }
      for (size_t i = 0; i < planned.kept.size(); ++i) {
        for (int64_t c = 0; c < cols; ++c) {
          ASSERT_EQ(rows[planned.kept[i] * cols + c], closed[i * cols + c]);
        }
      }
      for (size_t i = 0; i < planned.plans.size(); ++i) {
        for (const Plan::Removed& r : planned.plans[i].removed) {
          const int64_t at = (batch.sequences[i].begin + r.row) * cols;
          for (int64_t c = 0; c < cols; ++c) ASSERT_EQ(rows[at + c], expected[at + c]);
        }
      }
    }
  }
}

TEST(PairPlan, ACallersMistakeIsFound) {
  SKIP_WHERE_THE_HOST_PLANS();
  Batch batch;
  batch.Add(TestSite(16, 1), 4, 6);
  EXPECT_NO_THROW(OnDevice({}, batch, Precision::kF32));
  batch.sequences[0].remove = 7;  // more than half
  EXPECT_THROW(OnDevice({}, batch, Precision::kF32), Error);
  batch.sequences[0] = {.begin = 1, .rows = 15, .protected_tail = 0, .remove = 1};
  EXPECT_THROW(OnDevice({}, batch, Precision::kF32), Error);
}

}  // namespace
}  // namespace pith
