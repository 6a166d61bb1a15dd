// Numbers for people: signs, zeros, commas, and what is no number.
#include "core/numbers.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace pith {
namespace {

TEST(Numbers, FixedHasNoNegativeZero) {
  EXPECT_EQ(Fixed(1.25, 1), "1.2");
  EXPECT_EQ(Fixed(-1.26, 1), "-1.3");
  EXPECT_EQ(Fixed(-0.00001, 4), "0.0000");
  EXPECT_EQ(Fixed(-0.00001, 4, true), "+0.0000");
  EXPECT_EQ(Fixed(3, 0, true), "+3");
  EXPECT_EQ(Fixed(-3, 0, true), "-3");
  EXPECT_EQ(Fixed(NAN, 2), "-");
  EXPECT_EQ(Fixed(INFINITY, 2), "-");
}

TEST(Numbers, GroupedHasACommaBeforeEachThreeDigits) {
  EXPECT_EQ(Grouped(0), "0");
  EXPECT_EQ(Grouped(999), "999");
  EXPECT_EQ(Grouped(1000), "1,000");
  EXPECT_EQ(Grouped(-999), "-999");
  EXPECT_EQ(Grouped(-1000), "-1,000");
  EXPECT_EQ(Grouped(-123456), "-123,456");
  EXPECT_EQ(Grouped(12582912), "12,582,912");
  EXPECT_EQ(Grouped(std::numeric_limits<int64_t>::min()), "-9,223,372,036,854,775,808");
}

TEST(Numbers, PlusMinusIsADashWithoutAValue) {
  EXPECT_EQ(PlusMinus(0.45, 0.0354, 4), "0.4500 ± 0.0354");
  EXPECT_EQ(PlusMinus(0.45, NAN, 2, true), "+0.45 ± -");
  EXPECT_EQ(PlusMinus(NAN, 1, 2), "-");
}

}  // namespace
}  // namespace pith
