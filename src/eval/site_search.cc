#include "eval/site_search.h"

#include <algorithm>
#include <cstdint>

#include "core/error.h"
#include "eval/layer_kinds.h"
#include "pith/reduction.h"
#include "pith/reduction_spec.h"

namespace pith {
namespace {

// `kind` "": of any that mixes. A site that has none below it goes to the first one.
std::vector<int> SitesOf(std::span<const LayerInfo> layers, const std::string& kind) {
  const auto fits = [&](int64_t l) {
    const LayerInfo& layer = layers[static_cast<size_t>(l)];
    return layer.mixes && (kind.empty() || layer.kind == kind);
  };
  int64_t first = 0;
  while (first < std::ssize(layers) && !fits(first)) ++first;
  std::vector<int> sites;
  if (first == std::ssize(layers)) return sites;
  for (const int site : DefaultSites(std::ssize(layers))) {
    int64_t at = site;
    while (at >= 0 && !fits(at)) --at;
    const int found = static_cast<int>(at < 0 ? first : at);
    if (sites.empty() || found > sites.back()) sites.push_back(found);
  }
  return sites;
}

}  // namespace

std::vector<SiteCandidate> SiteCandidates(std::span<const LayerInfo> layers,
                                          std::string_view method) {
  ReductionSpec spec = ReductionSpec::Parse(method);
  Require(spec.reduction && !spec.params.contains("sites"), ErrorCode::kInvalidArgument,
          "calibration: got '", method,
          "', expected a method with a share and without sites, as in ", spec.method, "@20%");
  std::vector<SiteCandidate> candidates;
  for (const std::string& kind : KindsToTry(layers)) {
    const std::vector<int> sites = SitesOf(layers, kind);
    if (sites.empty()) continue;
    spec.params["sites"] = JoinSites(sites);
    const std::string text = spec.ToString();
    if (std::ranges::find(candidates, text, &SiteCandidate::spec) == candidates.end()) {
      candidates.push_back({text, sites});
    }
  }
  return candidates;
}

SearchResult SearchSites(std::span<const SiteCandidate> candidates, const CalibrationBudget& budget,
                         const std::function<CandidateCost(const std::string& spec)>& measure) {
  RequireBudget(budget);
  SearchResult result;
  for (const SiteCandidate& candidate : candidates) {
    const CandidateCost cost = measure(candidate.spec);
    const double use = cost.Use(budget);
    result.trials.push_back({candidate.spec, cost, use <= 1, candidate.sites});
    const bool better = !result.chosen || use < result.trials[*result.chosen].cost.Use(budget);
    if (use <= 1 && better) result.chosen = result.trials.size() - 1;
  }
  return result;
}

}  // namespace pith
