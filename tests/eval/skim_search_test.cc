// The search of calibrate, on made-up costs. Laws for any costs, drawn at random: the choice is
// within the budget and saves the most of what was tried within it; every candidate is measured
// once; the same costs give the same trials. For costs that grow with every saving, and of which
// each part is independent of the others, the optimum is known. Where nothing is within the budget
// the search says so. A figure that is not finite is over any budget.
#include "eval/skim_search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <set>
#include <string>

#include "core/error.h"
#include "pith/reduction_spec.h"
#include "reduce/params.h"

namespace pith {
namespace {

constexpr int kLayers = 12;

// A candidate as its spec tells it.
struct Parts {
  std::vector<int> full;
  int64_t window = 0;
  double mass = 0;  // 0: the horizon
};
Parts Take(const std::string& text) {
  const ReductionSpec spec = ReductionSpec::Parse(text);
  EXPECT_EQ(spec.ToString(), text) << "canonical";
  const ParamReader params("skim", spec.params);
  return {.full = params.Layers("full", kLayers),
          .window = params.Int("window", 0, 1 << 20, -1),
          .mass = params.Number("mass", 0, 1, 0)};
}

// Every layer that is not full, every token out of the window and every mass saves.
double Saving(const Parts& parts) {
  return 0.05 * static_cast<double>(kLayers - parts.full.size()) +
         0.0001 * static_cast<double>(256 - parts.window) + 0.1 * parts.mass;
}

CandidateCost Cost(const Parts& parts, double nll) {
  return {.realised = Saving(parts), .nll = {.value = nll, .standard_error = 0, .n = 8}};
}

SkimSearchResult Search(const std::function<double(const Parts&)>& nll,
                        const CalibrationBudget& budget = {.nll = 1, .sigmas = 0},
                        const SkimSpace& space = {.n_layer = kLayers, .context = 1792}) {
  return SearchSkim(space, budget, [&](const std::string& spec) {
    const Parts parts = Take(spec);
    return Cost(parts, nll(parts));
  });
}

std::string Chosen(const SkimSearchResult& result) {
  return result.chosen ? result.trials[*result.chosen].spec : "none";
}

// The last full layer decides, then the layers before it, the window and the mass: a sum of prices.
TEST(SkimSearch, FindsTheOptimumOfIndependentPrices) {
  // Layers 0 … 4 are needed but for 1 (.1) and 3 (.2); windows cost .05 a halving, masses .1 each.
  const auto nll = [](const Parts& parts) {
    const double prices[] = {0.9, 0.1, 0.8, 0.2, 9, 0, 0, 0, 0, 0, 0, 0};
    double sum = 0;
    for (int layer = 0; layer < kLayers; ++layer) {
      if (std::ranges::find(parts.full, layer) == parts.full.end()) sum += prices[layer];
    }
    return sum + 0.05 * std::log2(256.0 / static_cast<double>(parts.window)) +
           (parts.mass > 0 ? 0.1 + parts.mass : 0);
  };
  // .3 for layers 1 and 3, .1 for two halvings; then .15 for the least mass is too much.
  EXPECT_EQ(Chosen(Search(nll, {.nll = 0.42, .sigmas = 0})),
            "skim:full=0+2+4,horizon=0.01,window=64");
  EXPECT_EQ(Chosen(Search(nll, {.nll = 0.96, .sigmas = 0})), "skim:full=0+2+4,mass=0.2,window=16")
      << "all but layers 0 and 2, whose prices exceed what is left";
  EXPECT_EQ(Chosen(Search(nll, {.nll = 0.12, .sigmas = 0})),
            "skim:full=0+2-4,horizon=0.01,window=256");
  EXPECT_EQ(Chosen(Search(nll, {.nll = 0.06, .sigmas = 0})),
            "skim:full=0-4,horizon=0.01,window=128");
}

TEST(SkimSearch, MovesTheLastFullLayerBothWays) {
  for (int needed = 1; needed < kLayers; ++needed) {
    const auto nll = [&](const Parts& parts) {
      for (int layer = 0; layer < needed; ++layer) {
        if (std::ranges::find(parts.full, layer) == parts.full.end()) return 2.0;
      }
      return parts.window < 256 || parts.mass > 0 ? 2.0 : 0.0;
    };
    const std::string last = needed == 1 ? "0" : StrCat("0-", needed - 1);
    EXPECT_EQ(Chosen(Search(nll)), StrCat("skim:full=", last, ",horizon=0.01,window=256"));
  }
}

TEST(SkimSearch, NothingWithinTheBudgetIsNone) {
  const SkimSearchResult result = Search([](const Parts&) { return 1.01; });
  EXPECT_FALSE(result.chosen.has_value());
  EXPECT_EQ(result.trials.size(), kLayers / 2u) << "full layers from the half to all but one";
  for (const Trial& trial : result.trials) EXPECT_FALSE(trial.within);
  EXPECT_FALSE(Search([](const Parts&) { return 0.0; }, {}, {.n_layer = 1}).chosen.has_value());
}

TEST(SkimSearch, LawsHoldForAnyCosts) {
  for (int seed = 0; seed < 300; ++seed) {
    const CalibrationBudget budget{.nll = 1, .recall = 0.5, .sigmas = 0.5 * (seed % 3)};
    const SkimSpace space{.n_layer = 1 + seed % kLayers,
                          .context = seed % 2 ? 1792 : 100,
                          .has_horizon = seed % 5 > 0};
    const auto run = [&](std::set<std::string>& asked) {
      return SearchSkim(space, budget, [&](const std::string& spec) {
        EXPECT_TRUE(asked.insert(spec).second) << "measured twice: " << spec;
        EXPECT_EQ(spec.find("horizon") != spec.npos || spec.find("mass") != spec.npos,
                  space.has_horizon);
        EXPECT_EQ(spec.find("chunk=16") != spec.npos, space.context < 512);
        std::mt19937_64 rng(std::hash<std::string>()(spec) + seed);
        std::uniform_real_distribution<double> draw(0, seed % 7 == 0 ? 3 : 1.2);
        CandidateCost cost{.realised = draw(rng), .nll = {draw(rng), draw(rng) / 8, 8}};
        if (seed % 2) cost.recall = Estimate{draw(rng) / 2, draw(rng) / 16, 8};
        return cost;
      });
    };
    std::set<std::string> asked, again;
    const SkimSearchResult result = run(asked);
    EXPECT_EQ(result.trials.size(), asked.size());
    double best = -1;
    for (const Trial& trial : result.trials) {
      const Estimate& nll = trial.cost.nll;
      const Estimate recall = trial.cost.recall.value_or(Estimate{});
      const bool within = nll.value + budget.sigmas * nll.standard_error <= budget.nll &&
                          recall.value + budget.sigmas * recall.standard_error <= budget.recall;
      EXPECT_EQ(trial.within, within);
      if (within) best = std::max(best, trial.cost.realised);
    }
    EXPECT_EQ(result.chosen.has_value(), best >= 0);
    if (result.chosen) {
      EXPECT_TRUE(result.trials[*result.chosen].within);
      EXPECT_EQ(result.trials[*result.chosen].cost.realised, best);
    }
    EXPECT_EQ(Chosen(run(again)), Chosen(result));
    EXPECT_EQ(again, asked);
  }
}

TEST(SkimSearch, RefusesBoundsThatNothingMeets) {
  EXPECT_THROW(Search([](const Parts&) { return 0.0; }, {.nll = 0}), Error);
  EXPECT_THROW(Search([](const Parts&) { return 0.0; }, {.recall = -1}), Error);
  EXPECT_THROW(Search([](const Parts&) { return 0.0; }, {.sigmas = -1}), Error);
  EXPECT_THROW(Search([](const Parts&) { return 0.0; }, {.sigmas = INFINITY}), Error);
  EXPECT_THROW(Search([](const Parts&) { return 0.0; }, {.sigmas = NAN}), Error);
}

TEST(SkimSearch, WhatIsNotFiniteIsOver) {
  const CandidateCost good{.nll = {0, 0.1, 8}, .recall = Estimate{0, 0.1, 8}};
  for (const double sigmas : {0., 1.}) {
    const CalibrationBudget budget{.nll = 1, .recall = 1, .sigmas = sigmas};
    EXPECT_LE(good.Use(budget), 1);
    for (const double bad : {NAN, INFINITY, -INFINITY}) {
      for (int field = 0; field < 4; ++field) {
        CandidateCost cost = good;
        Estimate& loss = field < 2 ? cost.nll : *cost.recall;
        (field % 2 == 0 ? loss.value : loss.standard_error) = bad;
        EXPECT_EQ(cost.Use(budget), std::numeric_limits<double>::infinity()) << field << bad;
      }
    }
  }
}

// Without any of layers 1 to 4 the loss is unknown: they are tried last and stay.
TEST(SkimSearch, UnknownLossesAreNeverChosen) {
  const auto nll = [](const Parts& parts) {
    const auto full = [&](int layer) {
      return std::ranges::find(parts.full, layer) != parts.full.end();
    };
    if (!full(5)) return 2.0;
    for (int layer = 1; layer < 5; ++layer) {
      if (!full(layer)) return std::nan("");
    }
    return 0.0;
  };
  const SkimSearchResult result = Search(nll);
  EXPECT_EQ(Chosen(result), "skim:full=1-5,mass=0.2,window=16");
  for (const Trial& trial : result.trials) EXPECT_EQ(trial.within, trial.cost.nll.value == 0);
}

}  // namespace
}  // namespace pith
