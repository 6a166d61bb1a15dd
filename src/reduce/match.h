// For some rows of a sequence, the most similar among some others.
#ifndef PITH_REDUCE_MATCH_H_
#define PITH_REDUCE_MATCH_H_

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "core/exec.h"
#include "core/tensor.h"

namespace pith {

struct Match {
  int32_t target = -1;  // −1: no candidate
  float similarity = -std::numeric_limits<float>::infinity();
};

struct MatchRange {
  bool forward_only = false;  // only targets after the source, so that nothing flows back in time
  int64_t window = 0;         // only targets at most so many rows away; 0: any distance
};

// For each of `sources`, the row of `targets` with the largest cosine of `features`, the first of
// equals. `sources` and `targets` are strictly increasing and disjoint rows of `features`. Norms
// are summed in double, products in f32; a zero row, or one with a value that is not finite, has
// cosine 0 with all. The similarity matrix is never held whole: besides the normalised targets,
// memory is constant. Depends on nothing but the arguments, whatever the number of threads.
std::vector<Match> BestMatches(const Exec& exec, MatView<const float> features,
                               std::span<const int32_t> sources, std::span<const int32_t> targets,
                               const MatchRange& range);

}  // namespace pith

#endif  // PITH_REDUCE_MATCH_H_
