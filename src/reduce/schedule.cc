// A reduction is asked for as a share of the work, but is done in whole rows at a few sites.
// Between the two stands one number, the keep ratio at each site. The work that a keep ratio saves
// falls as the ratio grows, so the ratio that saves a wanted share is found by bisection. It is
// then turned into integers: each site aims at a power of the ratio times the context's length, not
// at a share of the rows that happen to reach it. Rounding errors then do not add up from site to
// site, and what a site could not remove, because too few of its rows may go, the next ones make up
// for. What the integers really save is computed from them, once they are known.
#include "reduce/schedule.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "reduce/flops.h"

namespace pith {

int64_t MaxRemovable(Limit limit, int64_t rows, int64_t protected_tail) {
  if (limit == Limit::kHalf) return std::max<int64_t>(0, rows - protected_tail) / 2;
  return std::max<int64_t>(0, rows - std::max<int64_t>(1, protected_tail));
}

std::vector<int> DefaultSites(int64_t n_layer) {
  PITH_CHECK(n_layer >= 1);
  if (n_layer == 64) return {12, 17, 22, 27, 32, 37, 42};
  if (n_layer == 48) return {10, 15, 20, 25, 30, 35};
  std::vector<int> sites;
  for (int64_t base : {5, 7, 9, 11, 13, 15}) {
    const int site = static_cast<int>((2 * base * n_layer + 24) / 48);
    if (site < n_layer - 1 && (sites.empty() || site > sites.back())) sites.push_back(site);
  }
  if (sites.empty()) sites.push_back(0);
  return sites;
}

double HeadWeight(const ModelConfig& config, FlopsCount count) {
  if (count == FlopsCount::kBlocks) return 0;
  return HeadFlopsPerToken(config) / BlockFlopsPerToken(config).Total();
}

double Reduction(const std::vector<int>& sites, int64_t n_layer, double head_weight, double keep) {
  double saved = 0;
  double ratio = 1;
  int64_t layer = -1;  // the last one counted
  for (int site : sites) {
    saved += static_cast<double>(site - layer) * (1 - ratio);
    layer = site;
    ratio *= keep;
  }
  saved += (static_cast<double>(n_layer - 1 - layer) + head_weight) * (1 - ratio);
  return saved / (static_cast<double>(n_layer) + head_weight);
}

double SolveKeep(const std::vector<int>& sites, int64_t n_layer, double head_weight, double wanted,
                 double min_keep) {
  if (wanted <= 0) return 1;
  if (sites.size() == 1 && sites[0] < 0) return 1 - wanted;  // linear: exact
  double low = min_keep, high = 1;
  for (int step = 0; step < 60; ++step) {
    const double middle = (low + high) / 2;
    (Reduction(sites, n_layer, head_weight, middle) >= wanted ? low : high) = middle;
  }
  return low;
}

std::vector<SiteLength> IntegerLengths(const std::vector<int>& sites, double keep, int64_t tokens,
                                       const LengthRules& rules) {
  std::vector<SiteLength> lengths;
  double ratio = 1;
  int64_t rows = tokens;
  for (int layer : sites) {
    ratio *= keep;
    // The slack absorbs that keep is a rounded decimal: .9 of 10 rows are 9.
    const double aim =
        rules.rounding == Rounding::kCumulative
            ? std::floor(ratio * static_cast<double>(tokens) + 0.5)
            : std::ceil(keep * static_cast<double>(rows) - 1e-9) + static_cast<double>(rules.extra);
    const int64_t removed = std::clamp<int64_t>(
        rows - static_cast<int64_t>(aim), 0, MaxRemovable(rules.limit, rows, rules.protected_rows));
    lengths.push_back({.layer = layer, .in = rows, .out = rows - removed});
    rows -= removed;
  }
  return lengths;
}

double Realised(const std::vector<SiteLength>& lengths, int64_t tokens, int64_t n_layer,
                double head_weight) {
  if (tokens == 0) return 0;
  double saved = 0;  // rows times blocks
  int64_t rows = tokens;
  int64_t layer = -1;
  for (const SiteLength& site : lengths) {
    saved += static_cast<double>(site.layer - layer) * static_cast<double>(tokens - rows);
    layer = site.layer;
    rows = site.out;
  }
  saved +=
      (static_cast<double>(n_layer - 1 - layer) + head_weight) * static_cast<double>(tokens - rows);
  return saved / (static_cast<double>(tokens) * (static_cast<double>(n_layer) + head_weight));
}

}  // namespace pith
