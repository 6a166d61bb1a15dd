// Bipartite matching over the rows of a site: which row would go, and into which it would merge.
#ifndef PITH_REDUCE_EDGES_H_
#define PITH_REDUCE_EDGES_H_

#include <cstdint>
#include <vector>

#include "reduce/match.h"
#include "reduce/policy.h"

namespace pith {

struct Edge {
  int32_t row;
  float importance;  // never NaN
  Match match;
};

// One edge from each row of the less important half of the unprotected rows to its best match in
// the other half, in row order. Equally important rows: the lower position is the less important.
// NaN ranks lowest.
std::vector<Edge> ImportanceEdges(const SiteView& site, const MatchRange& range);

// Leaves the `count` most similar edges, in row order; of equals the lower rows.
void KeepMostSimilar(std::vector<Edge>& edges, int64_t count);

// Which removed rows are pruned before others (A6).
enum class PruneOrder : uint8_t { kLeastImportant, kLeastSimilar, kMostSimilar, kRandom };

// Edges in row order come out in the order in which they are pruned: first those without a target,
// which can do nothing else; equals in row order. `key` is for kRandom.
void SortForPruning(PruneOrder order, uint64_t key, std::vector<Edge>& edges);

// How many of `edges` removed rows a branch prunes and does not merge:
// edges − floor((1 − q) · edges) (A7).
int64_t PrunedEdges(double q, int64_t edges);

}  // namespace pith

#endif  // PITH_REDUCE_EDGES_H_
