// Bipartite matching over the rows of a site: which row would go, and into which it would merge.
#ifndef PITH_REDUCE_EDGES_H_
#define PITH_REDUCE_EDGES_H_

#include <cstdint>
#include <vector>

#include "ops/match.h"
#include "ops/pair_plan.h"
#include "reduce/policy.h"

namespace pith {

// Importance as it ranks: NaN, which would break the order of a sort, below all others; 0 where
// the policy reads none.
float RankOf(const SiteView& site, int32_t row);

struct Edge {
  int32_t row;
  float importance;  // RankOf(row)
  Match match;
};

// One edge from each row of the less important half of the unprotected rows to its best match in
// the other half, in row order. Equally important rows: the lower position is the less important.
// NaN ranks lowest. Only the `wanted` most similar edges need be what they say, as BestMatches has
// it.
std::vector<Edge> ImportanceEdges(const SiteView& site, const MatchRange& range,
                                  int64_t wanted = kAllMatches);

// One edge from every other unprotected row, `first` the first of them, to its best match among the
// unprotected rows after `first` that lie between (ToMe's bipartition), in row order. `wanted` as
// above.
std::vector<Edge> AlternateEdges(const SiteView& site, int32_t first, const MatchRange& range,
                                 int64_t wanted = kAllMatches);

// A plan that removes the edges' rows: both branches merge each into its target, or prune it where
// it has none. The edges must be in row order.
Plan MergePlan(const std::vector<Edge>& edges);

// Leaves the `count` most similar edges, in row order; of equals the lower rows.
void KeepMostSimilar(std::vector<Edge>& edges, int64_t count);

// Edges in row order come out in the order in which they are pruned: first those without a target,
// which can do nothing else; equals in row order. `key` is for kRandom.
void SortForPruning(PruneOrder order, uint64_t key, std::vector<Edge>& edges);

// How many of `edges` removed rows a branch prunes and does not merge:
// edges − floor((1 − q) · edges).
int64_t PrunedEdges(double q, int64_t edges);

}  // namespace pith

#endif  // PITH_REDUCE_EDGES_H_
