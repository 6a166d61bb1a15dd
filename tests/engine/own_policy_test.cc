// A method of the caller's own must do what the library's methods do with the same plan, see each
// site as PolicySite says, and be refused by name where its plan breaks the laws of plans.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/error.h"
#include "pith/engine.h"
#include "tests/engine/tiny_checkpoint.h"

namespace pith {
namespace {

using testing::RandomIds;

class OwnPolicies : public testing::BothKinds {
 protected:
  void ExpectRefused(const OwnPolicy& policy, const std::string& words) const {
    const Reduction reduction = engine_.Compile(policy, "@30%");
    try {
      engine_.Inspect(ids_, reduction);
      ADD_FAILURE() << "no error, expected one with: " << words;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
      EXPECT_NE(std::string(error.what()).find(words), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find("'own' after layer"), std::string::npos)
          << error.what();
    }
  }

  const std::vector<int32_t> ids_ = RandomIds(130, 7);
};

PolicyPlan First(const PolicySite&, int64_t remove) {
  PolicyPlan plan;
  for (int32_t row = 0; row < remove; ++row) plan.removed.push_back(row);
  return plan;
}

// The rows that `random` removes, named by a policy, must give its scores to the bit.
TEST_P(OwnPolicies, TheSamePlanGivesTheSameBits) {
  const Reduction random = engine_.Compile("random@30%");
  std::map<int, std::vector<int32_t>> removed;
  engine_.Inspect(ids_, random, {.on_site = [&](const SiteSight& sight) {
                    removed[sight.layer].assign(sight.removed.begin(), sight.removed.end());
                  }});
  EXPECT_GT(removed.size(), 1);
  const Reduction own = engine_.Compile({.plan =
                                             [&](const PolicySite& site, int64_t) {
                                               return PolicyPlan{removed.at(site.layer), {}};
                                             }},
                                        "@30%");
  const std::vector<ScoreItem> item = {{ids_, {1, 2, 3}}};
  const ScoreResult by_own = engine_.Score(item, {.reduction = own})[0];
  const ScoreResult by_random = engine_.Score(item, {.reduction = random})[0];
  EXPECT_LT(by_own.context_rows, std::ssize(ids_));
  EXPECT_EQ(by_own.context_rows, by_random.context_rows);
  EXPECT_EQ(by_own.logprob, by_random.logprob);
}

TEST_P(OwnPolicies, SeesWhatItAskedFor) {
  std::mutex mutex;
  std::vector<int> layers;
  OwnPolicy policy{.importance = "hidden", .features = "combined"};
  policy.plan = [&](const PolicySite& site, int64_t remove) {
    const std::lock_guard lock(mutex);
    layers.push_back(site.layer);
    EXPECT_EQ(std::ssize(site.positions), site.rows);
    EXPECT_TRUE(std::ranges::is_sorted(site.positions, std::ranges::less_equal{}));
    EXPECT_EQ(std::ssize(site.importance), site.rows);
    EXPECT_TRUE(std::ranges::all_of(site.importance, [](float v) { return v >= 0; }));
    EXPECT_EQ(site.feature_width, 32);
    EXPECT_EQ(std::ssize(site.features), site.rows * 32);
    EXPECT_TRUE(std::ranges::all_of(site.features, [](float v) { return std::isfinite(v); }));
    EXPECT_EQ(site.protected_tail, 4);
    return First(site, remove);
  };
  engine_.Inspect(ids_, engine_.Compile(policy, "@30%:protect=4,sites=2+5"));
  EXPECT_EQ(layers, (std::vector<int>{2, 5}));
}

TEST_P(OwnPolicies, MergesIntoTheTargetsThatItNames) {
  OwnPolicy policy{.merges = true};
  policy.plan = [](const PolicySite&, int64_t remove) {
    PolicyPlan plan;
    for (int32_t i = 0; i < remove; ++i) {
      plan.removed.push_back(2 * i + 1);
      plan.targets.push_back(i % 2 == 0 ? 2 * i : -1);
    }
    return plan;
  };
  const InspectReport report = engine_.Inspect(ids_, engine_.Compile(policy, "@20%:sites=3"));
  int merged = 0;
  for (size_t p = 0; p < report.tokens.size(); ++p) {
    const TokenFate& fate = report.tokens[p];
    EXPECT_EQ(fate.merged_into, fate.site >= 0 && p % 4 == 1 ? static_cast<int64_t>(p) - 1 : -1);
    merged += fate.merged_into >= 0 ? 1 : 0;
  }
  EXPECT_GT(merged, 5);
}

TEST_P(OwnPolicies, APlanAgainstTheLawsIsNamed) {
  ExpectRefused({.plan = [](const PolicySite&, int64_t) { return PolicyPlan{}; }},
                "removed: got 0 rows");
  ExpectRefused({.plan =
                     [](const PolicySite& site, int64_t remove) {
                       PolicyPlan plan = First(site, remove);
                       std::ranges::reverse(plan.removed);
                       return plan;
                     }},
                "expected rows in increasing order");
  ExpectRefused({.plan =
                     [](const PolicySite& site, int64_t remove) {
                       PolicyPlan plan = First(site, remove);
                       plan.removed.back() = static_cast<int32_t>(site.rows - 1);
                       return plan;
                     }},
                "expected a row from 0 to");
  const auto into = [](int32_t target) {
    return [target](const PolicySite& site, int64_t remove) {
      PolicyPlan plan = First(site, remove);
      plan.targets.assign(plan.removed.size(), target);
      return plan;
    };
  };
  ExpectRefused({.plan = into(-1)}, "expected none of a policy without `merges`");
  ExpectRefused({.merges = true, .plan = into(0)}, "expected -1 or a kept row");
}

TEST_P(OwnPolicies, WhatItThrowsComesOut) {
  OwnPolicy policy;
  policy.plan = [](const PolicySite&, int64_t) -> PolicyPlan { throw std::domain_error("mine"); };
  EXPECT_THROW(engine_.Inspect(ids_, engine_.Compile(policy, "@30%")), std::domain_error);
}

TEST_P(OwnPolicies, CompilingRefusesWhatItCannotMean) {
  EXPECT_THROW(engine_.Compile(OwnPolicy{}, "@30%"), Error);
  EXPECT_THROW(engine_.Compile({.name = "utrc", .plan = First}, "@30%"), Error);
  EXPECT_THROW(engine_.Compile({.importance = "loudness", .plan = First}, "@30%"), Error);
  EXPECT_THROW(engine_.Compile({.features = "colour", .plan = First}, "@30%"), Error);
}

INSTANTIATE_TEST_SUITE_P(Kinds, OwnPolicies, ::testing::Bool(), testing::KindName);

}  // namespace
}  // namespace pith
