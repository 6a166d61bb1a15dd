// A greedy walk, because a candidate costs a minute and the space has thousands. Depth comes first:
// it saves the most, and recall falls steeply where a layer too many is skimmed, so that the walk
// goes one layer at a time from the default and stops at the first that is over the budget. Then
// single layers are left out, the cheapest in a trial of each alone first; then the window is
// halved; then the horizon gives up mass. Every step starts from the last candidate within the
// budget, and of all that were tried the one within it that saves the most is chosen, so a step
// that turns out badly costs time alone.
#include "eval/skim_search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "core/error.h"
#include "pith/reduction.h"
#include "pith/reduction_spec.h"

namespace pith {
namespace {

double Part(const Estimate& loss, double sigmas, double bound) {
  const double part = (loss.value + sigmas * loss.standard_error) / bound;
  return std::isfinite(part) ? part : std::numeric_limits<double>::infinity();
}

struct Candidate {
  std::vector<int> full;  // increasing
  int64_t window = 0;
  int64_t chunk = 64;
  std::string horizon;  // "horizon" or "mass" with its value; empty: none to set

  std::string Spec() const {
    std::string layers;
    for (size_t begin = 0, end; begin < full.size(); begin = end) {
      for (end = begin + 1; end < full.size() && full[end] == full[end - 1] + 1;) ++end;
      layers += StrCat(layers.empty() ? "" : "+", full[begin]);
      if (end - begin > 1) layers += StrCat("-", full[end - 1]);
    }
    const std::string text =
        StrCat("skim:full=", layers, ",window=", window, horizon.empty() ? "" : "," + horizon,
               chunk == 64 ? "" : StrCat(",chunk=", chunk));
    return ReductionSpec::Parse(text).ToString();
  }
};

class Search {
 public:
  Search(const SkimSpace& space, const CalibrationBudget& budget,
         const std::function<CandidateCost(const std::string&)>& measure)
      : space_(space), budget_(budget), measure_(measure) {
    const SkimDefaults defaults = SkimDefaultsFor(space.context);
    at_.window = defaults.window;
    at_.chunk = defaults.chunk;
    if (space.has_horizon) at_.horizon = "horizon=0.01";
  }

  SkimSearchResult Run() {
    if (ChooseDepth()) {
      RemoveLayers();
      while (at_.window > 16 && Step([](Candidate& next) { next.window /= 2; })) continue;
      for (const char* mass : {"mass=0.05", "mass=0.1", "mass=0.2"}) {
        if (!space_.has_horizon || !Step([&](Candidate& next) { next.horizon = mass; })) break;
      }
    }
    return std::move(result_);
  }

 private:
  void Front(Candidate& candidate, int64_t layers) const {
    candidate.full.resize(layers);
    std::iota(candidate.full.begin(), candidate.full.end(), 0);
  }

  const Trial& Try(const Candidate& candidate) {
    std::vector<Trial>& trials = result_.trials;
    const std::string spec = candidate.Spec();
    const auto known = std::ranges::find(trials, spec, &Trial::spec);
    if (known != trials.end()) return *known;
    const CandidateCost cost = measure_(spec);
    trials.push_back({spec, cost, cost.Use(budget_) <= 1});
    const Trial& trial = trials.back();
    if (trial.within && (!result_.chosen || Better(trial.cost, trials[*result_.chosen].cost))) {
      result_.chosen = trials.size() - 1;
    }
    return trial;
  }

  bool Better(const CandidateCost& a, const CandidateCost& b) const {
    if (a.realised != b.realised) return a.realised > b.realised;
    return a.Use(budget_) < b.Use(budget_);
  }

  // Moves to a changed candidate if the budget holds there.
  template <class Change>
  bool Step(Change change) {
    Candidate next = at_;
    change(next);
    if (!Try(next).within) return false;
    at_ = std::move(next);
    return true;
  }

  // The fewest full layers from the front; false where none but all of them will do.
  bool ChooseDepth() {
    int64_t layers = std::max<int64_t>(1, space_.n_layer / 2);
    const auto move = [&](int64_t to) { return Step([&](Candidate& next) { Front(next, to); }); };
    if (layers < space_.n_layer && move(layers)) {
      while (layers > 1 && move(layers - 1)) --layers;
      return true;
    }
    while (++layers < space_.n_layer) {
      if (move(layers)) return true;
    }
    return false;
  }

  // The last full layer stays: the search over depth found that it is needed.
  void RemoveLayers() {
    const auto without = [](int layer) {
      return [layer](Candidate& next) { std::erase(next.full, layer); };
    };
    std::vector<std::pair<double, int>> order;
    for (size_t i = 0; i + 1 < at_.full.size(); ++i) {
      Candidate next = at_;
      without(at_.full[i])(next);
      order.emplace_back(Try(next).cost.Use(budget_), at_.full[i]);
    }
    std::ranges::sort(order);
    for (const auto& [use, layer] : order) {
      if (!Step(without(layer))) break;
    }
  }

  const SkimSpace space_;
  const CalibrationBudget budget_;
  const std::function<CandidateCost(const std::string&)>& measure_;
  Candidate at_;
  SkimSearchResult result_;
};

}  // namespace

double CandidateCost::Use(const CalibrationBudget& budget) const {
  const double text = Part(nll, budget.sigmas, budget.nll);
  return recall ? std::max(text, Part(*recall, budget.sigmas, budget.recall)) : text;
}

SkimSearchResult SearchSkim(const SkimSpace& space, const CalibrationBudget& budget,
                            const std::function<CandidateCost(const std::string& spec)>& measure) {
  Require(budget.nll > 0 && budget.recall > 0, ErrorCode::kInvalidArgument,
          "budget: got dNLL=", budget.nll, ", recall=", budget.recall, ", expected bounds above 0");
  Require(std::isfinite(budget.sigmas) && budget.sigmas >= 0, ErrorCode::kInvalidArgument,
          "sigmas: got ", budget.sigmas, ", expected a finite number of at least 0");
  return Search(space, budget, measure).Run();
}

}  // namespace pith
