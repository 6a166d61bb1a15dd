// Reductions by a function of the caller's: what it says is what goes, and what is no plan is
// named.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include "pith/engine.h"
#include "tests/engine/tiny_checkpoint.h"

namespace pith {
namespace {

using testing::RandomIds;

class OwnPolicies : public testing::BothKinds {
 protected:
  std::string ErrorOf(const OwnPolicy& policy, const std::string& amount = "@30%") {
    try {
      (void)engine_.Inspect(RandomIds(60, 1), engine_.Compile(policy, amount));
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
      return error.what();
    }
    return "";
  }
};

std::vector<int32_t> First(int64_t count) {
  std::vector<int32_t> rows(count);
  std::iota(rows.begin(), rows.end(), 0);
  return rows;
}

PolicyPlan DropFirst(const PolicySite& /*site*/, int64_t remove) {
  return {.removed = First(remove), .targets = {}};
}

TEST_P(OwnPolicies, WhatTheySayGoes) {
  std::vector<PolicySite> seen;
  std::vector<int32_t> first_positions;
  OwnPolicy policy{.importance = "hidden", .features = "combined"};
  policy.plan = [&](const PolicySite& site, int64_t remove) {
    seen.push_back(site);
    first_positions.push_back(site.positions.front());
    EXPECT_EQ(std::ssize(site.positions), site.rows);
    EXPECT_EQ(std::ssize(site.importance), site.rows);
    EXPECT_EQ(std::ssize(site.features), site.rows * site.feature_width);
    EXPECT_EQ(site.feature_width, 32);  // d_model
    EXPECT_TRUE(std::ranges::all_of(site.importance, [](float v) { return v >= 0; }));
    return DropFirst(site, remove);
  };
  const std::vector<int32_t> ids = RandomIds(90, 2);
  const InspectReport report = engine_.Inspect(ids, engine_.Compile(policy, "@30%:protect=5"));
  ASSERT_EQ(seen.size(), report.plan.sites.size());
  ASSERT_GT(seen.size(), 1u);
  int64_t gone = 0;
  for (size_t s = 0; s < seen.size(); ++s) {
    EXPECT_EQ(seen[s].rows, report.plan.sites[s].in);
    EXPECT_EQ(seen[s].protected_tail, 5);
    EXPECT_EQ(first_positions[s], gone);
    const int64_t before = gone;
    gone += report.plan.sites[s].in - report.plan.sites[s].out;
    for (int64_t p = before; p < gone; ++p) EXPECT_EQ(report.tokens[p].site, static_cast<int>(s));
  }
  EXPECT_GT(gone, 0);
  for (size_t p = gone; p < ids.size(); ++p) EXPECT_EQ(report.tokens[p].site, -1);
}

TEST_P(OwnPolicies, TargetsOfNoneAreDrops) {
  const OwnPolicy drops{.plan = DropFirst};
  const OwnPolicy same{.merges = true, .plan = [](const PolicySite& site, int64_t remove) {
                         PolicyPlan plan = DropFirst(site, remove);
                         plan.targets.assign(plan.removed.size(), -1);
                         return plan;
                       }};
  const OwnPolicy merges{.merges = true, .plan = [](const PolicySite& site, int64_t remove) {
                           PolicyPlan plan = DropFirst(site, remove);
                           plan.targets.assign(plan.removed.size(), static_cast<int32_t>(remove));
                           return plan;
                         }};
  const std::vector<ScoreItem> items = {{RandomIds(70, 3), {1, 2}}, {RandomIds(33, 4), {5}}};
  const auto scores = [&](const OwnPolicy& policy) {
    return engine_.Score(items, {.reduction = engine_.Compile(policy, "@25%")});
  };
  const auto dropped = scores(drops), none = scores(same), merged = scores(merges);
  for (size_t i = 0; i < items.size(); ++i) {
    EXPECT_EQ(dropped[i].logprob, none[i].logprob);
    EXPECT_NE(dropped[i].logprob, merged[i].logprob);
    const std::vector<ScoreItem> alone = {items[i]};
    const Reduction reduction = engine_.Compile(merges, "@25%");
    EXPECT_EQ(engine_.Score(alone, {.reduction = reduction})[0].logprob, merged[i].logprob);
  }
}

TEST_P(OwnPolicies, WhatIsNoPlanIsNamed) {
  const auto error = [&](auto plan, bool merges = false) {
    return ErrorOf({.merges = merges, .plan = plan});
  };
  EXPECT_EQ(ErrorOf({.plan = DropFirst}), "");
  EXPECT_NE(error([](const PolicySite&, int64_t) {
              return PolicyPlan();
            }).find("policy 'own' after layer 2: removed: got 0 rows, expected "),
            std::string::npos);
  EXPECT_NE(error([](const PolicySite&, int64_t remove) {
              PolicyPlan plan{.removed = First(remove), .targets = {}};
              std::ranges::reverse(plan.removed);
              return plan;
            }).find("expected rows in increasing order"),
            std::string::npos);
  EXPECT_NE(error([](const PolicySite& site, int64_t remove) {
              PolicyPlan plan{.removed = First(remove), .targets = {}};
              for (int32_t& row : plan.removed) row += static_cast<int32_t>(site.rows - remove);
              return plan;
            }).find("expected a row from 0 to "),
            std::string::npos);
  const auto into_removed = [](const PolicySite&, int64_t remove) {
    return PolicyPlan{.removed = First(remove), .targets = std::vector<int32_t>(remove, 0)};
  };
  EXPECT_NE(error(into_removed).find("targets: got some, expected none"), std::string::npos);
  EXPECT_NE(error(into_removed, true).find("targets[0]: got 0, expected -1 or a kept row"),
            std::string::npos);
  EXPECT_NE(error(
                [](const PolicySite& site, int64_t remove) {
                  PolicyPlan plan = DropFirst(site, remove);
                  plan.targets = {-1, -1};
                  return plan;
                },
                true)
                .find("targets: got 2, expected one for each of "),
            std::string::npos);
}

TEST_P(OwnPolicies, WhatIsNoPolicyIsNamed) {
  EXPECT_EQ(ErrorOf({}), "plan: got none, expected a function that says which rows go");
  EXPECT_NE(ErrorOf({.name = "utrc", .plan = DropFirst}).find("name: got 'utrc'"),
            std::string::npos);
  EXPECT_NE(ErrorOf({.importance = "hiden", .plan = DropFirst}).find("importance: got 'hiden'"),
            std::string::npos);
  EXPECT_NE(ErrorOf({.features = "y", .plan = DropFirst}).find("features: got 'y'"),
            std::string::npos);
  EXPECT_NE(ErrorOf({.plan = DropFirst}, "@130%"), "");
}

INSTANTIATE_TEST_SUITE_P(Kinds, OwnPolicies, ::testing::Bool(), testing::KindName);

}  // namespace
}  // namespace pith
