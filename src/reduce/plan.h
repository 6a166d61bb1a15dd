// What a policy decides for one sequence at one site.
#ifndef PITH_REDUCE_PLAN_H_
#define PITH_REDUCE_PLAN_H_

#include <cstdint>
#include <vector>

namespace pith {

// What a row becomes when m removed rows merge into it in one branch.
enum class MergeRule : uint8_t {
  kMean,  // the mean of itself and all m, weighted by Plan::weights
  // Per channel: the mean of itself and the floor(m / 2) largest of the m values. The published
  // UTRC code's "hybrid"; not a rule over tokens, and weights have no part in it.
  kTopChannels,
};

// Rows are indices into the sequence's current rows. A removed row is gone from the site on. Where
// it has a target, the branches in which it merges average it into the target before it goes.
// Both branches lose the same rows, so they stay aligned.
struct Plan {
  struct Removed {
    int32_t row = 0;
    int32_t target = -1;          // a row that is kept; −1: pruned in both branches
    bool merge_hidden = false;    // in the hidden branch h
    bool merge_residual = false;  // in the residual branch x
    bool operator==(const Removed&) const = default;
  };
  std::vector<Removed> removed;  // strictly increasing rows
  std::vector<float> weights;    // [rows] finite, ≥ 0, their sum over a merge > 0; empty: all 1
  MergeRule hidden_rule = MergeRule::kMean;
  MergeRule residual_rule = MergeRule::kMean;
  bool operator==(const Plan&) const = default;
};

// A plan that prunes `rows` (strictly increasing).
Plan PrunePlan(const std::vector<int32_t>& rows);

// Named checks that `plan` is one for `rows` rows: removed rows in range and strictly increasing,
// targets kept rows, a target exactly where a branch merges, weights as described above.
void CheckPlan(const Plan& plan, int64_t rows);

}  // namespace pith

#endif  // PITH_REDUCE_PLAN_H_
