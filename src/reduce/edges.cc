#include "reduce/edges.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "reduce/draw.h"

namespace pith {
namespace {

float SimilarityOf(const Edge& edge) { return edge.match.similarity; }

std::vector<Edge> EdgesBetween(const SiteView& site, std::span<const int32_t> sources,
                               std::span<const int32_t> targets, const MatchRange& range,
                               int64_t wanted) {
  if (site.edges_seen != nullptr) wanted = kAllMatches;
  const std::vector<Match> matches =
      BestMatches(site.exec, site.features, sources, targets, range, wanted);
  std::vector<Edge> edges;
  edges.reserve(sources.size());
  for (size_t i = 0; i < sources.size(); ++i) {
    edges.push_back({sources[i], RankOf(site, sources[i]), matches[i]});
  }
  if (site.edges_seen != nullptr) {
    site.edges_seen->insert(site.edges_seen->end(), edges.begin(), edges.end());
  }
  return edges;
}

// Which `count` of the values are least; of equals the first ones. No value is NaN. A sort of all
// would cost more than what follows from it.
std::vector<bool> Lowest(std::span<const float> values, int64_t count) {
  const auto before = [&](int32_t a, int32_t b) {
    return values[a] < values[b] || (values[a] == values[b] && a < b);
  };
  std::vector<int32_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::nth_element(order.begin(), order.begin() + count, order.end(), before);
  std::vector<bool> lowest(values.size(), false);
  for (int64_t i = 0; i < count; ++i) lowest[order[i]] = true;
  return lowest;
}

}  // namespace

float RankOf(const SiteView& site, int32_t row) {
  if (site.importance.empty()) return 0;
  const float s = site.importance[row];
  return std::isnan(s) ? -std::numeric_limits<float>::infinity() : s;
}

std::vector<Edge> ImportanceEdges(const SiteView& site, const MatchRange& range, int64_t wanted) {
  const int64_t rows = std::max<int64_t>(0, site.rows - site.protected_tail);
  std::vector<float> ranks(rows);
  for (int64_t row = 0; row < rows; ++row) ranks[row] = RankOf(site, static_cast<int32_t>(row));
  const std::vector<bool> lower = Lowest(ranks, rows / 2);
  std::vector<int32_t> sources, targets;
  for (int64_t row = 0; row < rows; ++row) {
    (lower[row] ? sources : targets).push_back(static_cast<int32_t>(row));
  }
  return EdgesBetween(site, sources, targets, range, wanted);
}

std::vector<Edge> AlternateEdges(const SiteView& site, int32_t first, const MatchRange& range,
                                 int64_t wanted) {
  std::vector<int32_t> sources, targets;
  for (int32_t row = first; row < site.rows - site.protected_tail; ++row) {
    ((row - first) % 2 == 0 ? sources : targets).push_back(row);
  }
  return EdgesBetween(site, sources, targets, range, wanted);
}

Plan MergePlan(const std::vector<Edge>& edges) {
  Plan plan;
  plan.removed.reserve(edges.size());
  for (const Edge& edge : edges) {
    const bool merges = edge.match.target >= 0;
    plan.removed.push_back({edge.row, edge.match.target, merges, merges});
  }
  return plan;
}

void KeepMostSimilar(std::vector<Edge>& edges, int64_t count) {
  std::vector<float> distance;
  distance.reserve(edges.size());
  for (const Edge& edge : edges) distance.push_back(-SimilarityOf(edge));
  const std::vector<bool> kept = Lowest(distance, count);
  int64_t at = 0;
  for (size_t i = 0; i < edges.size(); ++i) {
    if (kept[i]) edges[at++] = edges[i];
  }
  edges.resize(count);
}

void SortForPruning(PruneOrder order, uint64_t key, std::vector<Edge>& edges) {
  switch (order) {
    case PruneOrder::kLeastImportant:
      std::ranges::stable_sort(edges, {}, &Edge::importance);
      break;
    case PruneOrder::kLeastSimilar:
      std::ranges::stable_sort(edges, {}, &SimilarityOf);
      break;
    case PruneOrder::kMostSimilar:
      std::ranges::stable_sort(edges, std::greater<>(), &SimilarityOf);
      break;
    case PruneOrder::kRandom: {
      const std::vector<Edge> in_order = edges;
      const auto n = static_cast<int64_t>(edges.size());
      const std::vector<int32_t> draw = Draw(key, n, n);
      for (int64_t i = 0; i < n; ++i) edges[i] = in_order[draw[i]];
      break;
    }
  }
  std::ranges::stable_partition(edges, [](const Edge& edge) { return edge.match.target < 0; });
}

int64_t PrunedEdges(double q, int64_t edges) {
  // The slack absorbs that q is a rounded decimal: .9 of 10 edges are 9.
  return edges - static_cast<int64_t>(std::floor((1 - q) * static_cast<double>(edges) + 1e-9));
}

}  // namespace pith
