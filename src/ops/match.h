// For some rows of a sequence, the most similar among some others.
#ifndef PITH_OPS_MATCH_H_
#define PITH_OPS_MATCH_H_

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
  bool operator==(const Match&) const = default;
};

inline constexpr int64_t kAllMatches = std::numeric_limits<int64_t>::max();

struct MatchRange {
  bool forward_only = false;  // only targets after the source, so that nothing flows back in time
  int64_t window = 0;         // only targets at most so many rows away; 0: any distance
};

// For each of `sources`, the row of `targets` with the largest cosine of `features` [rows, cols],
// the first of equals. `sources` and `targets` are on the host, strictly increasing and disjoint
// rows of `features`. A zero row, or one with a value that is not finite, has cosine 0 with all.
// Norms are summed in double, products of unit rows in f32 or wider. The matrix of similarities is
// never held whole: memory is that of the unit rows and a part that the number of rows has no
// influence on. Depends on nothing but the arguments.
//
// Where only the `wanted` sources with the most similar matches are wanted, of equals the first
// ones, the match of any other may be missing or a less similar one than its best. Which one it is
// depends on the device and on its threads, too.
std::vector<Match> BestMatches(const Exec& exec, MatView<const float> features,
                               std::span<const int32_t> sources, std::span<const int32_t> targets,
                               const MatchRange& range, int64_t wanted = kAllMatches);

// What a kernel gets: the same, with the candidates of each source as a range of `targets`.
struct MatchArgs {
  struct Candidates {
    int64_t begin = 0;  // indices into targets; both bounds grow with the source,
    int64_t end = 0;    // and a range with end ≤ begin is empty
  };
  MatView<const float> features;
  std::span<const int32_t> sources;
  std::span<const int32_t> targets;
  std::span<const Candidates> candidates;  // one per source
  int64_t wanted = kAllMatches;            // at least 1
  std::span<Match> best;                   // one per source, on the host; all Match{} at first
};

}  // namespace pith

#endif  // PITH_OPS_MATCH_H_
