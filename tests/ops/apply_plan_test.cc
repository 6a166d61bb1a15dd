// ApplyPlan against the reference; tests/reduce/apply_test.cc holds the literal examples.
//
// Bound: a mean of m + 1 weighted values has 2 m + 2 roundings in its numerator, m in its total and
// one in the quotient, each relative to Σ|w v| / Σ w; the rule over channels has fewer. Rows that
// are not targets keep their bits.
#include "ops/apply_plan.h"

#include <algorithm>

#include "tests/ops/ops_testing.h"

namespace pith::ops_testing {
namespace {

class ApplyPlanTest : public ::testing::Test {};

Plan DrawPlan(Random& random, int64_t rows, bool weighted, MergeRule rule) {
  Plan plan;
  std::vector<int32_t> kept;
  for (int32_t row = 0; row < rows; ++row) {
    if (row + 1 == rows || random.Uniform(0, 1) < 0.4f) {
      kept.push_back(row);
    } else {
      plan.removed.push_back({.row = row});
    }
  }
  for (Plan::Removed& r : plan.removed) {
    r.merge_hidden = random.Uniform(0, 1) < 0.7f;
    r.merge_residual = random.Uniform(0, 1) < 0.7f;
    if (!r.merge_hidden && !r.merge_residual) continue;
    const auto last = static_cast<float>(kept.size());
    r.target = kept[std::min(kept.size() - 1, static_cast<size_t>(random.Uniform(0, last)))];
  }
  for (int64_t row = 0; weighted && row < rows; ++row) {
    plan.weights.push_back(random.Uniform(0.5f, 4));
  }
  plan.hidden_rule = rule;
  return plan;
}

TEST_F(ApplyPlanTest, AgreesWithReference) {
  for (const int64_t rows : {1, 2, 5, 64, 201}) {
    for (const int64_t cols : {1, 17, 255, 256, 300, 700}) {
      for (const MergeRule rule : {MergeRule::kMean, MergeRule::kTopChannels}) {
        const auto seed = static_cast<uint32_t>(rows * 53 + cols);
        SCOPED_TRACE(StrCat("seed ", seed, ", ", rows, " × ", cols));
        Random random(seed);
        const Strided before(random, rows, cols);
        const Plan plan = DrawPlan(random, rows, rule == MergeRule::kMean, rule);
        for (const Branch branch : {Branch::kHidden, Branch::kResidual}) {
          Strided expected = before, actual = before, other = before;
          ApplyPlan(kReference, plan, branch, expected.view());
          ApplyPlan(Tested(1), plan, branch, actual.view());
          ApplyPlan(Tested(3), plan, branch, other.view());
          const int64_t kept = rows - static_cast<int64_t>(plan.removed.size());
          ExpectSameBits(other.view().Rows(0, kept), actual.view().Rows(0, kept));
          std::vector<int64_t> members(rows, 0);
          for (const Plan::Removed& r : plan.removed) {
            if (r.MergesIn(branch == Branch::kHidden)) ++members[r.target];
          }
          int64_t at = 0;
          for (int64_t row = 0; row < rows; ++row) {
            if (std::ranges::binary_search(plan.removed, row, {}, &Plan::Removed::row)) continue;
            // Values are at most 1 in magnitude, and so are their means.
            const double bound = members[row] == 0 ? 0 : (3.0 * members[row] + 4) * kRounding;
            for (int64_t c = 0; c < cols; ++c) {
              ASSERT_NEAR(actual.At(at, c), expected.At(at, c), bound);
            }
            ++at;
          }
          actual.CheckPadding();
        }
      }
    }
  }
}

}  // namespace
}  // namespace pith::ops_testing
