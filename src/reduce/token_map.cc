#include "reduce/token_map.h"

#include <limits>
#include <numeric>

#include "core/error.h"

namespace pith {

TokenMap::TokenMap(int64_t tokens) {
  PITH_CHECK(tokens >= 0 && tokens <= std::numeric_limits<int32_t>::max());
  positions_.resize(tokens);
  std::iota(positions_.begin(), positions_.end(), 0);
  fate_.resize(tokens);
}

void TokenMap::Apply(const Plan& plan, int32_t site) {
  PITH_CHECK(site >= 0);
  CheckPlan(plan, rows());
  for (const Plan::Removed& r : plan.removed) {
    fate_[positions_[r.row]] = {.site = site,
                                .target = r.target < 0 ? -1 : positions_[r.target],
                                .merged_hidden = r.merge_hidden,
                                .merged_residual = r.merge_residual};
  }
  size_t next = 0;  // in plan.removed
  size_t kept = 0;
  for (size_t row = 0; row < positions_.size(); ++row) {
    if (next < plan.removed.size() && plan.removed[next].row == static_cast<int64_t>(row)) {
      ++next;
    } else {
      positions_[kept++] = positions_[row];
    }
  }
  positions_.resize(kept);
}

}  // namespace pith
