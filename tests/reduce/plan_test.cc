// What every method's plans must be (laws 2-4): exactly as many rows as asked for, in order, none
// of them protected, targets kept and unprotected, the same for the same sequence whatever the
// number of threads. And the literal plans of the content-free controls.
#include "ops/plan.h"

#include <gtest/gtest.h>

#include <set>

#include "core/error.h"
#include "reduce/blocks.h"
#include "reduce/draw.h"
#include "reduce/registry.h"
#include "tests/reduce/test_site.h"

namespace pith {
namespace {

using test::TestSite;

std::shared_ptr<const ReductionPolicy> Policy(
    const std::string& name, const std::map<std::string, std::string>& params = {}) {
  return test::MakeSetup(name, params).policy;
}

std::vector<int32_t> Rows(const Plan& plan) {
  std::vector<int32_t> rows;
  for (const Plan::Removed& r : plan.removed) rows.push_back(r.row);
  return rows;
}

std::vector<int64_t> Counts(int64_t max) {
  std::set<int64_t> counts = {0, std::min<int64_t>(1, max), max / 3, max / 2, max};
  return {counts.begin(), counts.end()};
}

void ExpectLawful(const std::string& spec, const Plan& plan, int64_t rows, int64_t remove,
                  int64_t head, int64_t protect, bool branches) {
  ASSERT_NO_THROW(CheckPlan(plan, rows)) << spec;
  EXPECT_EQ(static_cast<int64_t>(plan.removed.size()), remove) << spec;
  for (const Plan::Removed& r : plan.removed) {
    EXPECT_GE(r.row, head) << spec;
    EXPECT_LT(r.row, rows - protect) << spec;
    EXPECT_LT(r.target, rows - protect) << spec;
    EXPECT_TRUE(branches || r.target == -1) << spec;
  }
}

TEST(PlanLaws, HoldForEveryMethodAndLength) {
  for (const std::string& spec : test::AllSpecs()) {
    const PolicySetup setup = test::MakeSetup(spec);
    const auto& policy = setup.policy;
    const int64_t head = setup.protected_head;
    for (int64_t rows : {1, 2, 3, 5, 16, 31, 64, 65, 257, 2048}) {
      const TestSite site(rows, 7 * rows);
      for (int64_t protect : {0, 1, 4, 40}) {
        const int64_t max = MaxRemovable(test::LimitOf(spec), rows, protect + head);
        for (int64_t remove : Counts(max)) {
          const Plan plan = policy->MakePlan(site.View(Device::kReference, 1, protect), remove);
          ExpectLawful(spec, plan, rows, remove, head, protect, policy->Needs().branches);
          if (remove == 0) {
            EXPECT_EQ(plan, Plan()) << spec;
          }
          EXPECT_EQ(policy->MakePlan(site.View(Device::kReference, 2, protect), remove), plan);
        }
      }
    }
  }
}

TEST(PlanLaws, HoldInBlocks) {
  for (const std::string& spec : test::AllSpecs()) {
    if (!test::RemovalOf(spec).blocks) continue;
    const auto policy = test::MakeSetup(spec).policy;
    for (int64_t rows : {2, 5, 64, 65, 257}) {
      const TestSite site(rows, 7 * rows);
      for (int64_t protect : {0, 4, 40}) {
        for (int64_t remove : Counts(MaxRemovable(Limit::kHalf, rows, protect))) {
          for (int64_t block : {2, 16, 100, 300}) {
            const SiteView view = site.View(Device::kReference, 1, protect);
            const Plan plan = PlanInBlocks(*policy, view, remove, block, Limit::kHalf);
            ExpectLawful(spec, plan, rows, remove, 0, protect, policy->Needs().branches);
            for (const Plan::Removed& r : plan.removed) {
              EXPECT_TRUE(r.target < 0 || r.target / block == r.row / block) << spec;
            }
            if (block >= rows) {
              EXPECT_EQ(plan, policy->MakePlan(view, remove)) << spec;
            }
          }
        }
      }
    }
  }
}

// 40 rows, the last 4 protected, in blocks of 16: 16, 16 and 4 unprotected rows. Of 9 rows that go,
// 9·16/36 = 4 are the first block's, 9·32/36 = 8 those of both, 9 of all.
TEST(PlanInBlocks, SharesRowsInProportion) {
  const TestSite site(40, 1);
  const Plan plan = PlanInBlocks(*Policy("prefix-thin"), site.View(Device::kReference, 1, 4), 9, 16,
                                 Limit::kHalf);
  EXPECT_EQ(Rows(plan), (std::vector<int32_t>{0, 2, 4, 6, 16, 18, 20, 22, 32}));
}

// What lies in later blocks changes nothing.
TEST(PlanInBlocks, SeesNoRowsOfOtherBlocks) {
  const TestSite one(64, 1);
  TestSite two = one;
  for (int64_t r = 32; r < 64; ++r) {
    two.importance[r] = -two.importance[r];
    for (int c = 0; c < test::kWidth; ++c) two.features[r * test::kWidth + c] += 1;
  }
  for (const char* name : {"utrc", "evit", "tome", "pumer", "ltmp"}) {
    const auto first = [&](const TestSite& site) {
      Plan plan =
          PlanInBlocks(*Policy(name), site.View(Device::kReference, 1, 0), 20, 16, Limit::kHalf);
      std::erase_if(plan.removed, [](const Plan::Removed& r) { return r.row >= 32; });
      return plan.removed;
    };
    EXPECT_EQ(first(one), first(two)) << name;
    EXPECT_EQ(first(one).size(), 10u) << name;
  }
}

// Exact dot products leave no room for rounding: every backend must decide alike (law 4).
TEST(PlanLaws, BackendsAgreeOnExactInputs) {
  for (const char* name : {"utrc", "tome", "pumer", "ltmp"}) {
    const auto policy = Policy(name);
    for (int64_t rows : {5, 64, 257, 2048}) {
      const TestSite site(rows, rows);
      const int64_t remove = (rows - 4) / 2;
      const Plan expected = policy->MakePlan(site.View(Device::kReference, 1, 4), remove);
      for (Device device : testing::ReferenceAndTested()) {
        for (int threads : {1, 2}) {
          EXPECT_EQ(policy->MakePlan(site.View(device, threads, 4), remove), expected) << name;
        }
      }
    }
  }
}

TEST(PlanLaws, AskingForTooMuchIsACheck) {
  const TestSite site(10, 1);
  for (const Method& method : Methods()) {
    if (method.removal() == nullptr) continue;
    const int64_t max = MaxRemovable(method.removal()->limit, 10, 4);
    EXPECT_THROW(
        Policy(std::string(method.name))->MakePlan(site.View(Device::kReference, 1, 4), max + 1),
        Error)
        << method.name;
  }
}

TEST(Controls, LiteralPlans) {
  const TestSite site(64, 1);
  const SiteView view = site.View(Device::kReference, 1, 4);
  // What the published UTRC code removes of 64 tokens at a keep ratio of .905.
  EXPECT_EQ(64 - IntegerLengths({12}, 0.905, 64, {Limit::kHalf, 4})[0].out, 6);
  EXPECT_EQ(Rows(Policy("prefix-thin")->MakePlan(view, 6)),
            (std::vector<int32_t>{0, 2, 4, 6, 8, 10}));
  EXPECT_EQ(Rows(Policy("prefix-drop")->MakePlan(view, 3)), (std::vector<int32_t>{0, 1, 2}));
  EXPECT_EQ(Rows(Policy("truncate")->MakePlan(view, 3)), (std::vector<int32_t>{0, 1, 2}));
  // Middles of 6 parts of the 60 unprotected rows, of 1 part, and every other row.
  EXPECT_EQ(Rows(Policy("stride")->MakePlan(view, 6)),
            (std::vector<int32_t>{5, 15, 25, 35, 45, 55}));
  EXPECT_EQ(Rows(Policy("stride")->MakePlan(view, 1)), (std::vector<int32_t>{30}));
  const std::vector<int32_t> half = Rows(Policy("stride")->MakePlan(view, 30));
  for (int32_t i = 0; i < 30; ++i) EXPECT_EQ(half[i], 2 * i + 1);
}

TEST(Controls, RandomDependsOnSeedLayerAndLengthAlone) {
  const TestSite site(64, 1), other(64, 2), longer(65, 1);
  const auto plan = [](const TestSite& s, const char* seed, int layer) {
    return Policy("random", {{"seed", seed}})
        ->MakePlan(s.View(Device::kReference, 1, 4, layer), 20);
  };
  EXPECT_EQ(plan(site, "1", 5), plan(other, "1", 5));
  EXPECT_NE(plan(site, "1", 5), plan(site, "2", 5));
  EXPECT_NE(plan(site, "1", 5), plan(site, "1", 7));
  EXPECT_NE(plan(site, "1", 5), plan(longer, "1", 5));
}

TEST(Draw, IsUniformAndTheSameEverywhere) {
  EXPECT_EQ(Draw(0, 10, 4), (std::vector<int32_t>{5, 1, 9, 7}));
  // 20,000 draws of 3 of 10: each number is drawn a binomial number of times with mean 6,000 and
  // standard deviation 65; five of those miss once in 10^5 runs, and this run is fixed.
  std::vector<int> hits(10);
  SiteView view;
  for (view.rows = 0; view.rows < 20000; ++view.rows) {
    const std::vector<int32_t> numbers = Draw(DrawKey(1, view), 10, 3);
    EXPECT_EQ(std::set<int32_t>(numbers.begin(), numbers.end()).size(), 3u);
    for (int32_t n : numbers) ++hits[n];
  }
  for (int count : hits) EXPECT_NEAR(count, 6000, 5 * 65);
}

TEST(CheckPlan, NamesWhatIsNoPlan) {
  const Plan::Removed ok{.row = 3, .target = 4, .merge_hidden = true};
  EXPECT_NO_THROW(CheckPlan({{ok}}, 5));
  EXPECT_THROW(CheckPlan({{ok}}, 4), Error);           // target out of range
  EXPECT_THROW(CheckPlan({{{.row = -1}}}, 5), Error);  // row out of range
  EXPECT_THROW(CheckPlan({{{.row = 5}}}, 5), Error);
  EXPECT_THROW(CheckPlan({{{.row = 2}, {.row = 2}}}, 5), Error);   // twice
  EXPECT_THROW(CheckPlan({{{.row = 2}, {.row = 1}}}, 5), Error);   // out of order
  EXPECT_THROW(CheckPlan({{ok, {.row = 4}}}, 5), Error);           // target removed
  EXPECT_THROW(CheckPlan({{{.row = 3, .target = 4}}}, 5), Error);  // target without merge
  const std::vector<float> ones(5, 1), zeros(5, 0), negative = {1, 1, 1, -1, 1};
  EXPECT_NO_THROW(CheckPlan({{ok}, ones}, 5));
  EXPECT_THROW(CheckPlan({{ok}, ones}, 6), Error);      // a weight for each row
  EXPECT_THROW(CheckPlan({{ok}, zeros}, 5), Error);     // a merge without weight
  EXPECT_THROW(CheckPlan({{ok}, negative}, 5), Error);  // and negative ones
  EXPECT_THROW(CheckPlan({{{.row = 3, .merge_residual = true}}}, 5), Error);  // merge without one
}

}  // namespace
}  // namespace pith
