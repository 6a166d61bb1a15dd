// The paired difference against its formula: mean of dᵢ = vᵢ − bᵢ and √(Σ(dᵢ − mean)² / (n − 1) /
// n).

#include "eval/compare.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "pith/error.h"

namespace pith {
namespace {

TEST(PairedDifference, Formula) {
  // Differences 1, −2, 4, 1: mean 1, squares 0 + 9 + 9 + 0.
  const Paired paired = PairedDifference({3, 1, 10, 0}, {2, 3, 6, -1});
  EXPECT_EQ(paired.mean, 1);
  EXPECT_DOUBLE_EQ(paired.standard_error, std::sqrt(18.0 / 3 / 4));
}

// What both sides share cancels: that is why pairs are compared.
TEST(PairedDifference, KnowsNoSpreadOfTheBase) {
  const Paired paired = PairedDifference({1.5, 100.5, -7.5}, {1, 100, -8});
  EXPECT_EQ(paired.mean, 0.5);
  EXPECT_EQ(paired.standard_error, 0);
}

TEST(PairedDifference, FewPairs) {
  EXPECT_EQ(PairedDifference({}, {}).mean, 0);
  EXPECT_EQ(PairedDifference({}, {}).standard_error, 0);
  EXPECT_EQ(PairedDifference({4}, {1}).mean, 3);
  EXPECT_EQ(PairedDifference({4}, {1}).standard_error, 0);
  EXPECT_THROW(PairedDifference({4, 5}, {1}), Error);
}

}  // namespace
}  // namespace pith
