// A greedy walk, because a candidate costs a minute and the space has thousands. Depth comes first:
// it saves the most, and recall falls steeply where a layer too many is skimmed, so that the walk
// goes one layer at a time from the default and stops at the first that is over the budget. Then
// single layers are left out, the cheapest in a trial of each alone first; then the window is
// halved; then the horizon gives up mass. Kinds of layers are tried apart in the first step only: a
// hybrid may bear that its Mamba layers skim early where its attention must not. Every step starts
// from the last candidate within the budget, and of all that were tried the one within it that
// saves the most is chosen, so a step that turns out badly costs time alone.
#include "eval/skim_search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <span>
#include <utility>

#include "core/error.h"
#include "eval/layer_kinds.h"
#include "pith/reduction.h"
#include "pith/reduction_spec.h"

namespace pith {
namespace {

double Part(const Estimate& loss, double sigmas, double bound) {
  const double part = (loss.value + sigmas * loss.standard_error) / bound;
  return std::isfinite(part) ? part : std::numeric_limits<double>::infinity();
}

// A layer that mixes rows, with those behind it that do not.
struct Block {
  std::vector<int> layers;
  std::string kind;  // of the one that mixes
};

std::vector<Block> BlocksOf(std::span<const LayerInfo> layers) {
  std::vector<Block> blocks;
  for (size_t l = 0; l < layers.size(); ++l) {
    const bool headed = !blocks.empty() && !blocks.back().kind.empty();
    if (blocks.empty() || (layers[l].mixes && headed)) blocks.emplace_back();
    if (layers[l].mixes) blocks.back().kind = layers[l].kind;
    blocks.back().layers.push_back(static_cast<int>(l));
  }
  return blocks;
}

struct Candidate {
  std::vector<int> full;  // layers, increasing
  int64_t window = 0;
  int64_t chunk = 64;
  std::string horizon;  // "horizon" or "mass" with its value; empty: none to set

  std::string Spec() const {
    const std::string text =
        StrCat("skim:full=", JoinLayers(full), ",window=", window,
               horizon.empty() ? "" : "," + horizon, chunk == 64 ? "" : StrCat(",chunk=", chunk));
    return ReductionSpec::Parse(text).ToString();
  }
  bool Has(const Block& block) const {
    return std::ranges::find(full, block.layers.front()) != full.end();
  }
};

class Search {
 public:
  Search(const SkimSpace& space, const CalibrationBudget& budget,
         const std::function<CandidateCost(const std::string&)>& measure)
      : space_(space), blocks_(BlocksOf(space.layers)), budget_(budget), measure_(measure) {
    const SkimDefaults defaults = SkimDefaultsFor(space.context);
    at_.window = defaults.window;
    at_.chunk = defaults.chunk;
    if (space.has_horizon) at_.horizon = "horizon=0.01";
  }

  SearchResult Run() {
    if (ChooseStart()) {
      RemoveLayers();
      while (at_.window > 16 && Step([](Candidate& next) { next.window /= 2; })) continue;
      for (const char* mass : {"mass=0.05", "mass=0.1", "mass=0.2"}) {
        if (!space_.has_horizon || !Step([&](Candidate& next) { next.horizon = mass; })) break;
      }
    }
    return std::move(result_);
  }

 private:
  bool Skims(const Block& block, const std::string& kind) const {
    return kind.empty() || block.kind == kind;
  }

  // Full are the first `count` blocks of the kind ("": of any), and all of other kinds.
  void Front(Candidate& candidate, const std::string& kind, int64_t count) const {
    candidate.full.clear();
    for (const Block& block : blocks_) {
      if (Skims(block, kind) && --count < 0) continue;
      candidate.full.insert(candidate.full.end(), block.layers.begin(), block.layers.end());
    }
  }

  const Trial& Try(const Candidate& candidate) {
    std::vector<Trial>& trials = result_.trials;
    const std::string spec = candidate.Spec();
    const auto known = std::ranges::find(trials, spec, &Trial::spec);
    if (known != trials.end()) return *known;
    const CandidateCost cost = measure_(spec);
    trials.push_back({spec, cost, cost.Use(budget_) <= 1, candidate.full});
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

  // The best of the fronts: all kinds of blocks together, then each kind alone.
  bool ChooseStart() {
    const Candidate origin = at_;
    std::optional<std::pair<CandidateCost, Candidate>> best;
    for (const std::string& kind : KindsToTry(space_.layers)) {
      at_ = origin;
      if (!ChooseDepth(kind)) continue;
      const CandidateCost cost = Try(at_).cost;
      if (!best || Better(cost, best->first)) best = {cost, at_};
    }
    if (best) at_ = best->second;
    return best.has_value();
  }

  // The fewest full blocks from the front; false where none but all of them will do.
  bool ChooseDepth(const std::string& kind) {
    const int64_t count =
        std::ranges::count_if(blocks_, [&](const Block& block) { return Skims(block, kind); });
    const int64_t least = kind.empty() ? 1 : 0;  // some layer must be full
    int64_t full = std::max(least, count / 2);
    const auto move = [&](int64_t to) {
      return Step([&](Candidate& next) { Front(next, kind, to); });
    };
    if (full < count && move(full)) {
      while (full > least && move(full - 1)) --full;
      return true;
    }
    while (++full < count) {
      if (move(full)) return true;
    }
    return false;
  }

  // The last full block stays: the search over depth found that it is needed.
  void RemoveLayers() {
    const auto without = [](const Block& block) {
      return [&block](Candidate& next) {
        std::erase_if(next.full, [&](int layer) {
          return std::ranges::find(block.layers, layer) != block.layers.end();
        });
      };
    };
    std::vector<const Block*> full;
    for (const Block& block : blocks_) {
      if (at_.Has(block)) full.push_back(&block);
    }
    std::vector<std::pair<double, const Block*>> order;
    for (size_t i = 0; i + 1 < full.size(); ++i) {
      Candidate next = at_;
      without (*full[i])(next);
      order.emplace_back(Try(next).cost.Use(budget_), full[i]);
    }
    std::ranges::stable_sort(order, {}, &std::pair<double, const Block*>::first);
    for (const auto& [use, block] : order) {
      if (!Step(without(*block))) break;
    }
  }

  const SkimSpace space_;
  const std::vector<Block> blocks_;
  const CalibrationBudget budget_;
  const std::function<CandidateCost(const std::string&)>& measure_;
  Candidate at_;
  SearchResult result_;
};

}  // namespace

double CandidateCost::Use(const CalibrationBudget& budget) const {
  const double text = Part(nll, budget.sigmas, budget.nll);
  return recall ? std::max(text, Part(*recall, budget.sigmas, budget.recall)) : text;
}

void RequireBudget(const CalibrationBudget& budget) {
  Require(budget.nll > 0 && budget.recall > 0, ErrorCode::kInvalidArgument,
          "budget: got dNLL=", budget.nll, ", recall=", budget.recall, ", expected bounds above 0");
  Require(std::isfinite(budget.sigmas) && budget.sigmas >= 0, ErrorCode::kInvalidArgument,
          "sigmas: got ", budget.sigmas, ", expected a finite number of at least 0");
}

SearchResult SearchSkim(const SkimSpace& space, const CalibrationBudget& budget,
                        const std::function<CandidateCost(const std::string& spec)>& measure) {
  RequireBudget(budget);
  return Search(space, budget, measure).Run();
}

}  // namespace pith
