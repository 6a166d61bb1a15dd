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
                               std::span<const int32_t> targets, const MatchRange& range) {
  const std::vector<Match> matches = BestMatches(site.exec, site.features, sources, targets, range);
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

}  // namespace

float RankOf(const SiteView& site, int32_t row) {
  if (site.importance.empty()) return 0;
  const float s = site.importance[row];
  return std::isnan(s) ? -std::numeric_limits<float>::infinity() : s;
}

std::vector<Edge> ImportanceEdges(const SiteView& site, const MatchRange& range) {
  std::vector<int32_t> order(std::max<int64_t>(0, site.rows - site.protected_tail));
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, {}, [&](int32_t row) { return RankOf(site, row); });
  const auto middle = order.begin() + order.size() / 2;
  std::sort(order.begin(), middle);
  std::sort(middle, order.end());
  return EdgesBetween(site, {order.begin(), middle}, {middle, order.end()}, range);
}

std::vector<Edge> AlternateEdges(const SiteView& site, int32_t first, const MatchRange& range) {
  std::vector<int32_t> sources, targets;
  for (int32_t row = first; row < site.rows - site.protected_tail; ++row) {
    ((row - first) % 2 == 0 ? sources : targets).push_back(row);
  }
  return EdgesBetween(site, sources, targets, range);
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
  std::ranges::stable_sort(edges, std::greater<>(), &SimilarityOf);
  edges.erase(edges.begin() + count, edges.end());
  std::ranges::sort(edges, {}, &Edge::row);
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
