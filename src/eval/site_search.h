// The search of `pith calibrate` over the sites of a method that removes rows.
#ifndef PITH_EVAL_SITE_SEARCH_H_
#define PITH_EVAL_SITE_SEARCH_H_

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "eval/skim_search.h"
#include "pith/engine.h"

namespace pith {

struct SiteCandidate {
  std::string spec;
  std::vector<int> sites;
};

// The default sites, each moved down to the next layer that mixes rows; where a model has several
// kinds of those, also to the next one of each kind alone. Each candidate once. Throws
// kInvalidArgument for a method without a wanted share or with sites of its own.
std::vector<SiteCandidate> SiteCandidates(std::span<const LayerInfo> layers,
                                          std::string_view method);

// Measures each. Chosen is, of those within the budget, the one that uses least of it: what they
// save is what the method's share says.
SearchResult SearchSites(std::span<const SiteCandidate> candidates, const CalibrationBudget& budget,
                         const std::function<CandidateCost(const std::string& spec)>& measure);

}  // namespace pith

#endif  // PITH_EVAL_SITE_SEARCH_H_
