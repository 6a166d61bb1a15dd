// Metrics against their formulas: means with sample standard deviation / √n, ratios and
// exponentials by their linear part, paired differences where what both share cancels.

#include "eval/metric.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "pith/error.h"

namespace pith {
namespace {

const Metric kMean{.name = "mean"};
const Metric kExp{.name = "exp", .exponential = true};

TEST(EstimateMetric, MeanOfOnesAndZeros) {
  // Mean 3/4; squared deviations 3 · 1/16 + 9/16 = 3/4.
  const std::vector<Share> items = {{1}, {0}, {1}, {1}};
  const Estimate estimate = EstimateMetric(kMean, items);
  EXPECT_EQ(estimate.value, 0.75);
  EXPECT_DOUBLE_EQ(estimate.standard_error, std::sqrt(0.75 / 3 / 4));
  EXPECT_EQ(estimate.n, 4);
}

TEST(EstimateMetric, RatioCountsTokensNotItems) {
  // 3 of 4 and 1 of 6: ratio .4, mean count 5; influences (3 − 1.6) / 5 and (1 − 2.4) / 5.
  const std::vector<Share> items = {{3, 4}, {1, 6}};
  const Estimate estimate = EstimateMetric(kMean, items);
  EXPECT_DOUBLE_EQ(estimate.value, 0.4);
  EXPECT_NEAR(estimate.standard_error, std::sqrt(2 * 0.28 * 0.28 / 1 / 2), 1e-15);
}

TEST(EstimateMetric, ItemsThatDoNotCountChangeNothing) {
  const std::vector<Share> some = {{3, 4}, {1, 6}};
  const std::vector<Share> more = {{0, 0}, {3, 4}, {0, 0}, {1, 6}};
  const Estimate a = EstimateMetric(kMean, some);
  const Estimate b = EstimateMetric(kMean, more);
  EXPECT_EQ(a.value, b.value);
  EXPECT_EQ(a.standard_error, b.standard_error);
  EXPECT_EQ(b.n, 2);
}

TEST(EstimateMetric, ExponentialOfTheMean) {
  const std::vector<Share> items = {{1}, {3}};
  const Estimate estimate = EstimateMetric(kExp, items);
  EXPECT_DOUBLE_EQ(estimate.value, std::exp(2.0));
  EXPECT_DOUBLE_EQ(estimate.standard_error, std::exp(2.0) * 1.0);
}

TEST(EstimateMetric, FewItems) {
  EXPECT_TRUE(std::isnan(EstimateMetric(kMean, {}).value));
  EXPECT_EQ(EstimateMetric(kMean, {}).n, 0);
  const std::vector<Share> one = {{5}};
  EXPECT_EQ(EstimateMetric(kMean, one).value, 5);
  EXPECT_TRUE(std::isnan(EstimateMetric(kMean, one).standard_error)) << "unknown, not none";
}

TEST(EstimateDifference, WhatBothShareCancels) {
  const std::vector<Share> base = {{1}, {100}, {-8}};
  const std::vector<Share> items = {{1.5}, {100.5}, {-7.5}};
  const Estimate difference = EstimateDifference(kMean, items, base);
  EXPECT_DOUBLE_EQ(difference.value, 0.5);
  EXPECT_NEAR(difference.standard_error, 0, 1e-14);
}

TEST(EstimateDifference, FormulaAndMismatch) {
  // Differences 1, −2, 4, 1: mean 1, squares 0 + 9 + 9 + 0.
  const std::vector<Share> items = {{3}, {1}, {10}, {0}};
  const std::vector<Share> base = {{2}, {3}, {6}, {-1}};
  const Estimate difference = EstimateDifference(kMean, items, base);
  EXPECT_DOUBLE_EQ(difference.value, 1);
  EXPECT_DOUBLE_EQ(difference.standard_error, std::sqrt(18.0 / 3 / 4));
  EXPECT_THROW(EstimateDifference(kMean, items, std::span(base).first(3)), Error);
}

// Items 2 and 4 count on one side only. Left are (3 of 4, 1 of 6) and (2 of 4, 4 of 4): ratios .4
// and .75, mean counts 5 and 4. Influences (3 − 1.6) / 5 = .28 and −.28; (2 − 3) / 4 = −.25 and
// .25; their differences .53 and −.53.
TEST(EstimateDifference, PairsItemsThatCountOnBothSides) {
  const std::vector<Share> items = {{3, 4}, {0, 0}, {1, 6}, {900, 7}};
  const std::vector<Share> base = {{2, 4}, {-70, 5}, {4, 4}, {0, 0}};
  const Estimate difference = EstimateDifference(kMean, items, base);
  EXPECT_EQ(difference.n, 2);
  EXPECT_DOUBLE_EQ(difference.value, 0.4 - 0.75);
  EXPECT_DOUBLE_EQ(difference.standard_error, std::sqrt(2 * 0.53 * 0.53 / 1 / 2));
  const std::vector<Share> none = {{0, 0}, {1, 1}, {0, 0}, {0, 0}};
  EXPECT_EQ(EstimateDifference(kMean, none, base).n, 1);
  EXPECT_EQ(EstimateDifference(kMean, none, items).n, 0);
  EXPECT_TRUE(std::isnan(EstimateDifference(kMean, none, items).value));
}

// Independent samples: (.4 + .5) / 2 with √(.03² + .04²) / 2.
TEST(MeanOf, ErrorsAddUpInSquares) {
  const std::vector<Estimate> estimates = {{0.4, 0.03, 7}, {0.5, 0.04, 5}};
  const Estimate mean = MeanOf(estimates);
  EXPECT_DOUBLE_EQ(mean.value, 0.45);
  EXPECT_DOUBLE_EQ(mean.standard_error, 0.025);
  EXPECT_EQ(mean.n, 12);
  EXPECT_TRUE(std::isnan(MeanOf({}).value));
}

}  // namespace
}  // namespace pith
