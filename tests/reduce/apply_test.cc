// The row mover and the token map, against literal examples and against each other. Values are
// small integers, so sums are exact and means have one rounding: everything compares bit by bit.
#include "ops/apply_plan.h"

#include <gtest/gtest.h>

#include <map>

#include "core/error.h"
#include "reduce/registry.h"
#include "reduce/token_map.h"
#include "tests/reduce/test_site.h"

namespace pith {
namespace {

constexpr Exec kExec = {.device = Device::kReference, .threads = 1};

// [rows, cols] with value 1000·row + column.
std::vector<float> Ramp(int64_t rows, int64_t stride) {
  std::vector<float> data(rows * stride);
  for (int64_t i = 0; i < rows * stride; ++i) {
    data[i] = static_cast<float>(1000 * (i / stride) + i % stride);
  }
  return data;
}

TEST(ApplyPlan, MergesPerBranchAndCloses) {
  // Row 1 merges into 3 in both branches, row 4 into 3 in the residual one only, row 2 is pruned.
  const Plan plan = {{{.row = 1, .target = 3, .merge_hidden = true, .merge_residual = true},
                      {.row = 2},
                      {.row = 4, .target = 3, .merge_residual = true}}};
  std::vector<float> hidden = {0, 10, 20, 35, 50, 60};
  ApplyPlan(kExec, plan, Branch::kHidden, {hidden.data(), 6, 1});
  EXPECT_EQ(std::vector<float>(hidden.begin(), hidden.begin() + 3),
            (std::vector<float>{0, 22.5, 60}));
  std::vector<float> residual = {0, 10, 20, 35, 50, 60};
  ApplyPlan(kExec, plan, Branch::kResidual, {residual.data(), 6, 1});
  EXPECT_EQ(std::vector<float>(residual.begin(), residual.begin() + 3),
            (std::vector<float>{0, 95.0f / 3, 60}));
}

TEST(ApplyPlan, NothingRemovedTouchesNothing) {
  std::vector<float> data = Ramp(5, 7);
  ApplyPlan(kExec, {}, Branch::kHidden, {data.data(), 5, 7});
  EXPECT_EQ(data, Ramp(5, 7));
}

TEST(ApplyPlan, AllButOneRow) {
  Plan plan;
  for (int32_t row = 0; row < 4; ++row) plan.removed.push_back({.row = row});
  std::vector<float> data = Ramp(5, 7);
  ApplyPlan(kExec, plan, Branch::kHidden, {data.data(), 5, 7});
  for (int64_t c = 0; c < 7; ++c) EXPECT_EQ(data[c], 4000 + c);
}

TEST(ApplyPlan, WeightsMeansAndAddsSizes) {
  // Rows 1 and 2, of weight 3 and 0, merge into 3 of weight 1: (35 + 3 · 10) / 4.
  const Plan plan = {{{.row = 1, .target = 3, .merge_hidden = true},
                      {.row = 2, .target = 3, .merge_hidden = true, .merge_residual = true}},
                     {9, 3, 0, 1, 9}};
  std::vector<float> hidden = {0, 10, 20, 35, 50};
  ApplyPlan(kExec, plan, Branch::kHidden, {hidden.data(), 5, 1});
  EXPECT_EQ(std::vector<float>(hidden.begin(), hidden.begin() + 3),
            (std::vector<float>{0, 65.0f / 4, 50}));
  std::vector<float> sizes = {1, 2, 3, 4, 5};
  ApplyPlanToSizes(plan, sizes);
  EXPECT_EQ(std::vector<float>(sizes.begin(), sizes.begin() + 3), (std::vector<float>{1, 9, 5}));
}

TEST(ApplyPlan, TopChannelsTakeTheLargerHalf) {
  Plan plan;
  for (int32_t row = 0; row < 5; ++row) {
    plan.removed.push_back({row, 5, true, row != 0});
  }
  plan.hidden_rule = MergeRule::kTopChannels;
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> rows = {1, -1, nan, 2, -2, 9, 3, -3, 4, 5, -5, 7, 4, -4, 1, 6, 6, 6};
  ApplyPlan(kExec, plan, Branch::kHidden, {rows.data(), 6, 3});
  EXPECT_EQ(std::vector<float>(rows.begin(), rows.begin() + 3),
            (std::vector<float>{15.0f / 3, 3.0f / 3, 22.0f / 3}));
}

// Every method at many lengths, with rows wider than a slice and a stride wider than a row. The
// expectation is built from positions alone, through the token map.
TEST(ApplyPlan, AgreesWithTokenMapForEveryMethod) {
  for (const std::string& spec : test::AllSpecs()) {
    const auto policy = test::MakePolicy(spec);
    for (int64_t rows : {2, 5, 31, 64, 257}) {
      constexpr int64_t kCols = 300, kStride = 310;
      const test::TestSite site(rows, rows);
      const int64_t remove =
          MaxRemovable(test::LimitOf(spec), rows, 1 + policy->protected_head()) / 2;
      const Plan plan = policy->MakePlan(site.View(Device::kReference, 1, 1), remove);
      TokenMap map(rows);
      map.Apply(plan, 0);
      ASSERT_EQ(map.rows(), rows - remove);
      for (Branch branch : {Branch::kHidden, Branch::kResidual}) {
        const bool top = (branch == Branch::kHidden ? plan.hidden_rule : plan.residual_rule) ==
                         MergeRule::kTopChannels;
        std::map<int64_t, std::vector<int64_t>> members;
        for (int64_t p = 0; p < rows; ++p) {
          const TokenMap::Fate& fate = map.fate(p);
          if (branch == Branch::kHidden ? fate.merged_hidden : fate.merged_residual) {
            members[fate.target].push_back(p);
          }
        }
        std::vector<float> data = Ramp(rows, kStride);
        ApplyPlan({.device = Device::kReference, .threads = 2}, plan, branch,
                  {data.data(), rows, kCols, kStride});
        for (int64_t r = 0; r < map.rows(); ++r) {
          const int64_t position = map.positions()[r];
          const std::vector<int64_t>& merged = members[position];
          const auto weight = [&](int64_t p) {
            return plan.weights.empty() ? 1.0 : double{plan.weights[p]};
          };
          for (int64_t c = 0; c < kCols; ++c) {
            double sum = static_cast<double>(1000 * position + c) * weight(position);
            double total = weight(position);
            // The ramp grows with the row: the larger half are the last ones.
            for (size_t i = top ? merged.size() - merged.size() / 2 : 0; i < merged.size(); ++i) {
              sum += static_cast<double>(1000 * merged[i] + c) * weight(merged[i]);
              total += weight(merged[i]);
            }
            const float expected = merged.empty() ? static_cast<float>(1000 * position + c)
                                                  : static_cast<float>(sum / total);
            // Integers and whole weights are exact up to one division; weights that are shares
            // (evit) round at each of up to 130 products and sums.
            if (spec == "evit:mode=original") {
              ASSERT_NEAR(data[r * kStride + c], expected, 260 * 6e-8 * expected) << spec;
            } else {
              ASSERT_FLOAT_EQ(data[r * kStride + c], expected) << spec;
            }
          }
          for (int64_t c = kCols; c < kStride; ++c) ASSERT_EQ(data[r * kStride + c], 1000 * r + c);
        }
      }
    }
  }
}

TEST(TokenMap, StartsAsTheIdentity) {
  const TokenMap map(3);
  EXPECT_EQ(std::vector<int32_t>(map.positions().begin(), map.positions().end()),
            (std::vector<int32_t>{0, 1, 2}));
  EXPECT_EQ(map.fate(1).site, -1);
  EXPECT_EQ(TokenMap(0).rows(), 0);
}

TEST(TokenMap, FollowsPositionsThroughSites) {
  TokenMap map(8);
  map.Apply({{{.row = 0}, {.row = 3, .target = 4, .merge_hidden = true}}}, 0);
  map.Apply({{{.row = 2, .target = 0, .merge_residual = true}}}, 2);  // 4, into 1
  EXPECT_EQ(std::vector<int32_t>(map.positions().begin(), map.positions().end()),
            (std::vector<int32_t>{1, 2, 5, 6, 7}));
  EXPECT_EQ(map.fate(0).site, 0);
  EXPECT_EQ(map.fate(0).target, -1);
  EXPECT_EQ(map.fate(3).target, 4);
  EXPECT_TRUE(map.fate(3).merged_hidden);
  EXPECT_FALSE(map.fate(3).merged_residual);
  EXPECT_EQ(map.fate(4).site, 2);
  EXPECT_EQ(map.fate(4).target, 1);
  EXPECT_EQ(map.fate(1).site, -1);
}

// Round trip: rows and positions name each other, whatever the sequence of plans.
TEST(TokenMap, KeptPositionsAreThoseWithoutASite) {
  for (int64_t tokens : {1, 2, 3, 5, 16, 31, 64, 65, 257, 2048}) {
    TokenMap map(tokens);
    const auto policy = FindMethod("random").make(ParamReader("random", {}));
    for (int site = 0; site < 4; ++site) {
      const test::TestSite activations(map.rows(), site);
      map.Apply(policy->MakePlan(activations.View(Device::kReference, 1, 4, site),
                                 MaxRemovable(Limit::kHalf, map.rows(), 4) / 2),
                site);
    }
    int64_t row = 0;
    for (int64_t p = 0; p < tokens; ++p) {
      if (map.fate(p).site >= 0) continue;
      ASSERT_LT(row, map.rows());
      EXPECT_EQ(map.positions()[row++], p);
    }
    EXPECT_EQ(row, map.rows());
  }
}

TEST(TokenMap, WhatIsNoPlanIsACheck) {
  TokenMap map(3);
  EXPECT_THROW(map.Apply({{{.row = 3}}}, 0), Error);
  EXPECT_THROW(map.Apply({{{.row = 1}, {.row = 0}}}, 0), Error);
  EXPECT_THROW(map.Apply({}, -1), Error);
  std::vector<float> data(3);
  EXPECT_THROW(ApplyPlan(kExec, {{{.row = 3}}}, Branch::kHidden, {data.data(), 3, 1}), Error);
}

}  // namespace
}  // namespace pith
