// What every method's plans must be (laws 2-4): exactly as many rows as asked for, in order, none
// of them protected, targets kept and unprotected, the same for the same sequence whatever the
// number of threads. And the literal plans of the content-free controls.
#include "reduce/plan.h"

#include <gtest/gtest.h>

#include <set>

#include "core/error.h"
#include "reduce/draw.h"
#include "reduce/registry.h"
#include "tests/reduce/test_site.h"

namespace pith {
namespace {

using test::TestSite;

std::shared_ptr<const ReductionPolicy> Policy(
    const std::string& name, const std::map<std::string, std::string>& params = {}) {
  return FindMethod(name).make(ParamReader(name, params));
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

TEST(PlanLaws, HoldForEveryMethodAndLength) {
  for (const Method& method : Methods()) {
    if (!method.make) continue;
    const auto policy = Policy(std::string(method.name));
    for (int64_t rows : {1, 2, 3, 5, 16, 31, 64, 65, 257, 2048}) {
      const TestSite site(rows, 7 * rows);
      for (int64_t protect : {0, 1, 4, 40}) {
        for (int64_t remove : Counts(MaxRemovable(method.limit, rows, protect))) {
          const Plan plan = policy->MakePlan(site.View(Device::kReference, 1, protect), remove);
          ASSERT_NO_THROW(CheckPlan(plan, rows)) << method.name;
          EXPECT_EQ(static_cast<int64_t>(plan.removed.size()), remove) << method.name;
          for (const Plan::Removed& r : plan.removed) {
            EXPECT_LT(r.row, rows - protect) << method.name;
            EXPECT_LT(r.target, rows - protect) << method.name;
            EXPECT_TRUE(policy->Needs().branches || r.target == -1) << method.name;
          }
          EXPECT_EQ(policy->MakePlan(site.View(Device::kReference, 2, protect), remove), plan);
        }
      }
    }
  }
}

// Exact dot products leave no room for rounding: every backend must decide alike (law 4).
TEST(PlanLaws, BackendsAgreeOnExactInputs) {
  const auto policy = Policy("utrc");
  for (int64_t rows : {5, 64, 257, 2048}) {
    const TestSite site(rows, rows);
    const Plan expected = policy->MakePlan(site.View(Device::kReference, 1, 4), (rows - 4) / 2);
    for (Device device : test::Devices()) {
      for (int threads : {1, 2}) {
        EXPECT_EQ(policy->MakePlan(site.View(device, threads, 4), (rows - 4) / 2), expected);
      }
    }
  }
}

TEST(PlanLaws, AskingForTooMuchIsACheck) {
  const TestSite site(10, 1);
  for (const Method& method : Methods()) {
    if (!method.make) continue;
    const int64_t max = MaxRemovable(method.limit, 10, 4);
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
  EXPECT_EQ(64 - IntegerLengths({12}, 0.905, 64, Limit::kHalf, 4)[0].out, 6);
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
  for (uint64_t key = 0; key < 20000; ++key) {
    const std::vector<int32_t> numbers = Draw(DrawKey(1, 2, key), 10, 3);
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
  EXPECT_THROW(CheckPlan({{{.row = 3, .merge_residual = true}}}, 5), Error);  // merge without one
}

}  // namespace
}  // namespace pith
