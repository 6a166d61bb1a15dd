// The search of `pith calibrate`: which skim saves the most within a budget of quality.
#ifndef PITH_EVAL_SKIM_SEARCH_H_
#define PITH_EVAL_SKIM_SEARCH_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "eval/metric.h"
#include "pith/engine.h"

namespace pith {

// Bounds on what a candidate may lose to the dense model.
struct CalibrationBudget {
  double nll = 0.005;    // nats per token of a text's tail
  double recall = 0.01;  // share of answer tokens
  double sigmas = 1;     // a loss counts with so many of its standard errors
};

struct CandidateCost {
  double realised = 0;             // share of the layers' work that was saved
  Estimate nll;                    // candidate − dense, paired
  std::optional<Estimate> recall;  // dense − candidate, paired

  // The largest part of its bound that a loss with its errors takes: within the budget up to 1.
  // Infinite where a figure is not finite: what is unknown is over.
  double Use(const CalibrationBudget& budget) const;
};

struct Trial {
  std::string spec;
  CandidateCost cost;
  bool within = false;      // the budget
  std::vector<int> layers;  // those in full, or the sites
};

// What the search ranges over.
struct SkimSpace {
  std::vector<LayerInfo> layers;
  int64_t context = 0;      // tokens: short ones get the small window and chunk alone
  bool has_horizon = true;  // Mamba-2
};

struct SearchResult {
  std::vector<Trial> trials;     // each candidate once, in the order tried
  std::optional<size_t> chosen;  // of those within the budget the one that saves most, of equals
                                 // the one that uses least of it; nothing where none is within
};

// Throws kInvalidArgument for bounds that nothing meets.
void RequireBudget(const CalibrationBudget& budget);

// From the default skim: fewer or more full layers from the front, early layers out one after the
// other (the cheapest alone first), smaller windows, horizons by mass; each for as long as the
// budget holds. A layer that does not mix rows goes with the one before it. Where several kinds of
// layers mix, the front is walked for each of them alone too, the others staying full, and the
// search goes on from the front that saves most. Deterministic; calls `measure` once a candidate:
// with m mixing layers of k kinds about m + 10 times, for k > 1 up to m more.
SearchResult SearchSkim(const SkimSpace& space, const CalibrationBudget& budget,
                        const std::function<CandidateCost(const std::string& spec)>& measure);

}  // namespace pith

#endif  // PITH_EVAL_SKIM_SEARCH_H_
