// Random draws that are the same on every platform: splitmix64 and exact rejection, where the
// standard library leaves the algorithms of its distributions and shuffles open.
#ifndef PITH_REDUCE_DRAW_H_
#define PITH_REDUCE_DRAW_H_

#include <cstdint>
#include <vector>

#include "reduce/policy.h"

namespace pith {

// A key that differs with seed, layer, block and number of rows of a site's view.
uint64_t DrawKey(uint64_t seed, const SiteView& site);

// `count` different numbers of [0, n), uniformly, in the order drawn. 0 ≤ count ≤ n.
std::vector<int32_t> Draw(uint64_t key, int64_t n, int64_t count);

}  // namespace pith

#endif  // PITH_REDUCE_DRAW_H_
