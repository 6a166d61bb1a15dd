// Planning a site block by block, so that rows are ranked, matched and chosen among near ones only.
#ifndef PITH_REDUCE_BLOCKS_H_
#define PITH_REDUCE_BLOCKS_H_

#include <cstdint>

#include "reduce/policy.h"
#include "reduce/schedule.h"

namespace pith {

// The policy's plans for consecutive blocks of `block` rows (even, ≥ 2), each seeing nothing but
// its own rows, as one plan. The `remove` rows are shared out in proportion to unprotected rows, by
// cumulative rounding; what a block cannot give the first others give that can. With `limit` kHalf
// blocks can give together what the whole site can.
Plan PlanInBlocks(const ReductionPolicy& policy, const SiteView& site, int64_t remove,
                  int64_t block, Limit limit);

}  // namespace pith

#endif  // PITH_REDUCE_BLOCKS_H_
