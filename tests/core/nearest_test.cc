// Which name is suggested for a mistyped one, and when none is.

#include "core/nearest.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace pith {
namespace {

TEST(DidYouMean, TheNearestName) {
  const std::vector<std::string> names = {"--greedy", "--grid", "--top-k", "--top-p", "utrc"};
  EXPECT_EQ(DidYouMean("--gredy", names), "; did you mean '--greedy'?");
  EXPECT_EQ(DidYouMean("--greeddy", names), "; did you mean '--greedy'?");
  EXPECT_EQ(DidYouMean("--greeyd", names), "; did you mean '--greedy'?");  // swapped
  EXPECT_EQ(DidYouMean("-greedy", names), "; did you mean '--greedy'?");
  EXPECT_EQ(DidYouMean("--topk", names), "; did you mean '--top-k'?");
  EXPECT_EQ(DidYouMean("--top-q", names), "; did you mean '--top-k'?");  // the first of two
  EXPECT_EQ(DidYouMean("utcr", names), "; did you mean 'utrc'?");
}

TEST(DidYouMean, NothingFarAway) {
  const std::vector<std::string> names = {"a", "--greedy", "utrc"};
  EXPECT_EQ(DidYouMean("--frobnicate", names), "");
  EXPECT_EQ(DidYouMean("ctru", names), "");
  EXPECT_EQ(DidYouMean("b", names), "");  // all of it differs
  EXPECT_EQ(DidYouMean("", names), "");
  EXPECT_EQ(DidYouMean(std::string(100000, 'a'), names), "");
  EXPECT_EQ(DidYouMean("utrc", {}), "");
}

}  // namespace
}  // namespace pith
