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
#include <vector>

#include "core/error.h"
#include "eval/site_search.h"
#include "pith/reduction.h"
#include "pith/reduction_spec.h"
#include "reduce/params.h"

namespace pith {
namespace {

constexpr int kLayers = 12;

std::vector<LayerInfo> Alike(int64_t count) {
  return std::vector<LayerInfo>(static_cast<size_t>(count), {.kind = "Mamba-2", .mixes = true});
}

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

SearchResult Search(const std::function<double(const Parts&)>& nll,
                    const CalibrationBudget& budget = {.nll = 1, .sigmas = 0},
                    const SkimSpace& space = {.layers = Alike(kLayers), .context = 1792}) {
  return SearchSkim(space, budget, [&](const std::string& spec) {
    const Parts parts = Take(spec);
    return Cost(parts, nll(parts));
  });
}

std::string Chosen(const SearchResult& result) {
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
  const SearchResult result = Search([](const Parts&) { return 1.01; });
  EXPECT_FALSE(result.chosen.has_value());
  EXPECT_EQ(result.trials.size(), kLayers / 2u) << "full layers from the half to all but one";
  for (const Trial& trial : result.trials) EXPECT_FALSE(trial.within);
  EXPECT_FALSE(
      Search([](const Parts&) { return 0.0; }, {}, {.layers = Alike(1)}).chosen.has_value());
}

// m Mamba-2, a attention, p MLP.
std::vector<LayerInfo> Spelt(const std::string& letters) {
  std::vector<LayerInfo> layers;
  for (const char letter : letters) {
    layers.push_back({.kind = letter == 'm'   ? "Mamba-2"
                              : letter == 'a' ? "attention"
                                              : "MLP",
                      .mixes = letter != 'p'});
  }
  return layers;
}

// Alike, or a hybrid.
std::vector<LayerInfo> Layers(int seed) {
  if (seed % 3 > 0) return Alike(1 + seed % kLayers);
  return Spelt(seed % 2 ? "mpapmpmpapmp" : "pmmampapm");
}

// A hybrid whose attention must read every row, where its Mamba layers need the first alone: with
// layers of both kinds skimmed from the same depth on, next to nothing is saved.
TEST(SkimSearch, KindsAreTriedApart) {
  const std::vector<LayerInfo> layers = Spelt("mpmpapmpmpap");
  const auto nll = [](const Parts& parts) {
    for (const int needed : {0, 4, 10}) {
      if (std::ranges::find(parts.full, needed) == parts.full.end()) return 2.0;
    }
    return parts.window < 256 || parts.mass > 0 ? 2.0 : 0.0;
  };
  const SearchResult result =
      Search(nll, {.nll = 1, .sigmas = 0}, {.layers = layers, .context = 1792});
  EXPECT_EQ(Chosen(result), "skim:full=0-1+4-5+10-11,horizon=0.01,window=256")
      << "an MLP goes with the layer before it";
  ASSERT_TRUE(result.chosen);
  EXPECT_EQ(result.trials[*result.chosen].layers, (std::vector<int>{0, 1, 4, 5, 10, 11}));
  // And the other way round.
  const auto other = [](const Parts& parts) {
    for (const int needed : {0, 2, 6, 8}) {
      if (std::ranges::find(parts.full, needed) == parts.full.end()) return 2.0;
    }
    return parts.window < 256 || parts.mass > 0 ? 2.0 : 0.0;
  };
  EXPECT_EQ(Chosen(Search(other, {.nll = 1, .sigmas = 0}, {.layers = layers, .context = 1792})),
            "skim:full=0-3+6-9,horizon=0.01,window=256");
}

TEST(SiteSearch, OneListForAllKindsAndOneForEach) {
  const auto specs = [](const std::string& letters, const char* method) {
    std::vector<std::string> list;
    const std::vector<LayerInfo> layers = Spelt(letters);
    for (const SiteCandidate& candidate : SiteCandidates(layers, method)) {
      EXPECT_EQ(ReductionSpec::Parse(candidate.spec).params.at("sites"),
                JoinSites(candidate.sites));
      list.push_back(candidate.spec);
    }
    return list;
  };
  // The default sites of 12 layers are 3, 4, 5, 6, 7 and 8.
  ASSERT_EQ(DefaultSites(12), (std::vector<int>{3, 4, 5, 6, 7, 8}));
  EXPECT_EQ(specs("mpmpapmpmpap", "utrc@20%"),
            (std::vector<std::string>{"utrc@20%:sites=2+4+6+8", "utrc@20%:sites=2+6+8",
                                      "utrc@20%:sites=4"}));
  EXPECT_EQ(specs("mmmmmmmmmmmm", "utrc@20%:match=T"),
            std::vector<std::string>{"utrc@20%:match=T,sites=3+4+5+6+7+8"});
  EXPECT_EQ(specs("pppppppppppp", "utrc@20%"), std::vector<std::string>{});
  EXPECT_EQ(specs("mpmpmpmpmpap", "utrc@20%").back(), "utrc@20%:sites=10") << "the first above";
  for (const char* bad : {"utrc", "utrc:keep=0.9", "utrc@20%:sites=3"}) {
    EXPECT_THROW(SiteCandidates(Alike(12), bad), Error) << bad;
  }
}

TEST(SiteSearch, ChoosesWhatUsesLeastOfTheBudget) {
  const std::vector<SiteCandidate> candidates = {{"a", {1}}, {"b", {2}}, {"c", {3}}, {"d", {4}}};
  const auto cost = [](const std::string& spec) {
    const double losses[] = {0.5, 1.5, 0.2, NAN};
    return CandidateCost{.realised = 0.2, .nll = {losses[spec[0] - 'a'], 0, 8}};
  };
  const SearchResult result = SearchSites(candidates, {.nll = 1, .sigmas = 0}, cost);
  EXPECT_EQ(result.trials.size(), 4U);
  EXPECT_EQ(Chosen(result), "c");
  EXPECT_EQ(result.trials[2].layers, std::vector<int>{3});
  EXPECT_FALSE(result.trials[3].within);
  EXPECT_FALSE(SearchSites(candidates, {.nll = 0.1, .sigmas = 0}, cost).chosen.has_value());
  EXPECT_THROW(SearchSites(candidates, {.nll = 0}, cost), Error);
}

TEST(SkimSearch, LawsHoldForAnyCosts) {
  for (int seed = 0; seed < 300; ++seed) {
    const CalibrationBudget budget{.nll = 1, .recall = 0.5, .sigmas = 0.5 * (seed % 3)};
    const SkimSpace space{
        .layers = Layers(seed), .context = seed % 2 ? 1792 : 100, .has_horizon = seed % 5 > 0};
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
    const SearchResult result = run(asked);
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
  const SearchResult result = Search(nll);
  EXPECT_EQ(Chosen(result), "skim:full=1-5,mass=0.2,window=16");
  for (const Trial& trial : result.trials) EXPECT_EQ(trial.within, trial.cost.nll.value == 0);
}

}  // namespace
}  // namespace pith
