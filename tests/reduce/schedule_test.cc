// Sites and integer lengths against the tables of the method's specification.
// Where a table prints so many decimals, half a unit of its last place is the tolerance.
#include "reduce/schedule.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/reduce/test_site.h"

namespace pith {
namespace {

using test::Mamba1Facts;
using test::Mamba2Facts;

// Layers of the same work, and a head of `head` times that.
WorkWeights Alike(int64_t n_layer, double head = 0) {
  return {.layers = std::vector<double>(n_layer, 1), .head = head};
}

TEST(Sites, ThePapersAndProportionalOnes) {
  EXPECT_EQ(DefaultSites(64), (std::vector<int>{12, 17, 22, 27, 32, 37, 42}));
  EXPECT_EQ(DefaultSites(48), (std::vector<int>{10, 15, 20, 25, 30, 35}));
  EXPECT_EQ(DefaultSites(24), (std::vector<int>{5, 7, 9, 11, 13, 15}));
  EXPECT_EQ(DefaultSites(12), (std::vector<int>{3, 4, 5, 6, 7, 8}));
  EXPECT_EQ(DefaultSites(1), (std::vector<int>{0}));
  EXPECT_EQ(DefaultSites(2), (std::vector<int>{0}));
}

TEST(Sites, IncreaseAndLieInsideAnyModel) {
  for (int64_t n_layer = 1; n_layer <= 200; ++n_layer) {
    const std::vector<int> sites = DefaultSites(n_layer);
    ASSERT_FALSE(sites.empty());
    for (size_t i = 0; i < sites.size(); ++i) {
      EXPECT_GE(sites[i], i ? sites[i - 1] + 1 : 0) << n_layer;
      EXPECT_LT(sites[i], std::max<int64_t>(1, n_layer - 1)) << n_layer;
    }
  }
}

TEST(Solver, KeepRatiosOfTheSpecification) {
  struct Row {
    ModelFacts facts;
    FlopsCount count;
    double keep[3];    // at 10, 20, 30 %
    double at_905;     // reduction in %
    double final_row;  // share of rows left at 30 %
  };
  const Row rows[] = {
      {Mamba2Facts(2560, 64), FlopsCount::kBlocks, {.9729, .9415, .9043}, 29.84, .495},
      {Mamba1Facts(2560, 64), FlopsCount::kBlocks, {.9729, .9415, .9043}, 29.84, .495},
      {Mamba2Facts(2560, 64), FlopsCount::kFull, {.9738, .9436, .9080}, 30.75, .509},
      {Mamba1Facts(2560, 64), FlopsCount::kFull, {.9738, .9437, .9081}, 30.78, .509},
      {Mamba2Facts(2048, 48), FlopsCount::kBlocks, {.9651, .9248, .8768}, 24.36, .455},
      {Mamba2Facts(2048, 48), FlopsCount::kFull, {.9674, .9299, .8855}, 25.83, .482},
      {Mamba1Facts(2048, 48), FlopsCount::kFull, {.9675, .9301, .8859}, 25.90, .483},
  };
  for (const Row& row : rows) {
    const std::vector<int> sites = DefaultSites(row.facts.n_layer());
    const WorkWeights weights = WeightsOf(row.facts, row.count);
    for (int i = 0; i < 3; ++i) {
      const double wanted = 0.1 * (i + 1);
      const double keep = SolveKeep(sites, weights, wanted, 0.5);
      EXPECT_NEAR(keep, row.keep[i], 0.00005);
      EXPECT_NEAR(ShareSaved(sites, weights, keep), wanted, 1e-12);
    }
    EXPECT_NEAR(100 * ShareSaved(sites, weights, 0.905), row.at_905, 0.005);
    const double keep = SolveKeep(sites, weights, 0.3, 0.5);
    // A whole unit: the table's .455 is .4545.
    EXPECT_NEAR(std::pow(keep, sites.size()), row.final_row, 0.001);
  }
  EXPECT_NEAR(100 * ShareSaved(DefaultSites(64), Alike(64), 0.5), 71.7, 0.05);
  EXPECT_NEAR(100 * ShareSaved(DefaultSites(48), Alike(48), 0.5), 66.6, 0.05);
}

std::vector<int64_t> Chain(const std::vector<SiteLength>& lengths) {
  std::vector<int64_t> chain;
  for (const SiteLength& site : lengths) chain.push_back(site.out);
  return chain;
}

// The specification's chain for 2,048 tokens at 30 % of mamba2-2.7b rounds up at each site. Our
// rounding is cumulative: each length is within half a row of keep^k · N, and the sum is nearer to
// the wanted reduction. With .9082 both roundings agree on the specification's lengths.
TEST(Lengths, GoldenChainOfMamba2At30Percent) {
  const WorkWeights weights = WeightsOf(Mamba2Facts(2560, 64), FlopsCount::kFull);
  const std::vector<int> sites = DefaultSites(64);
  const double keep = SolveKeep(sites, weights, 0.3, 0.5);
  const std::vector<int64_t> published = {1860, 1689, 1534, 1393, 1265, 1149, 1044};
  double rows = 2048;
  for (int64_t length : published) {
    rows = std::ceil(rows * keep);
    EXPECT_EQ(rows, length);
  }
  const auto ours = IntegerLengths(sites, keep, 2048, {Limit::kHalf, 0});
  EXPECT_EQ(Chain(ours), (std::vector<int64_t>{1860, 1688, 1533, 1392, 1264, 1148, 1042}));
  EXPECT_NEAR(Realised(ours, 2048, weights), 0.3, 0.5 / 2048);
  EXPECT_EQ(Chain(IntegerLengths(sites, 0.9082, 2048, {Limit::kHalf, 0})), published);
}

// Every length is within half a row of its aim as long as no site is capped, so the mean over
// layers is too: the realised reduction is within 1 / 2N of the wanted one.
TEST(Lengths, HitTheTargetWithinHalfARow) {
  for (int64_t layers : {12, 24, 48, 64}) {
    const std::vector<int> sites = DefaultSites(layers);
    for (double head : {0.0, 3.0}) {
      const WorkWeights weights = Alike(layers, head);
      for (double wanted : {0.05, 0.1, 0.2, 0.3, 0.4}) {
        const double keep = SolveKeep(sites, weights, wanted, 0.5);
        for (int64_t tokens : {16, 31, 64, 65, 257, 2048, 100000}) {
          const auto lengths = IntegerLengths(sites, keep, tokens, {Limit::kHalf, 0});
          EXPECT_NEAR(Realised(lengths, tokens, weights), wanted, 0.5 / tokens + 1e-9)
              << layers << " layers, " << tokens << " tokens";
        }
      }
    }
  }
}

TEST(Lengths, CappedSiteIsMadeUpForLater) {
  // Aims 6, 3, 2, 1; the caps are half of the rows before the 4 protected ones.
  EXPECT_EQ(Chain(IntegerLengths({1, 2, 3, 4}, 0.55, 10, {Limit::kHalf, 4})),
            (std::vector<int64_t>{7, 6, 5, 5}));
  // Aims 7, 5, 4 of 10: the first site may only take 1, later ones take what is still wanted.
  EXPECT_EQ(Chain(IntegerLengths({1, 2, 3}, 0.7, 10, {Limit::kHalf, 7})),
            (std::vector<int64_t>{9, 8, 8}));
  EXPECT_EQ(Chain(IntegerLengths({0, 1}, 0.75, 12, {Limit::kHalf, 8})),
            (std::vector<int64_t>{10, 9}));
}

TEST(Lengths, TruncateKeepsTheRoundedShareAndAtLeastOneRow) {
  for (int64_t tokens : {1, 2, 3, 5, 16, 65, 2048}) {
    const auto lengths = IntegerLengths({-1}, 1 - 0.3, tokens, {Limit::kAllBut, 0});
    EXPECT_EQ(lengths[0].out,
              std::max<int64_t>(1, static_cast<int64_t>(std::floor(0.7 * tokens + 0.5))));
  }
  EXPECT_EQ(IntegerLengths({-1}, 0.001, 10, {Limit::kAllBut, 0})[0].out, 1);
  EXPECT_EQ(IntegerLengths({-1}, 0.001, 10, {Limit::kAllBut, 4})[0].out, 4);
  EXPECT_DOUBLE_EQ(Realised(IntegerLengths({-1}, 0.7, 10, {Limit::kAllBut, 4}), 10, Alike(24, 3.0)),
                   0.3);
}

// Layers count by their own work, whatever the unit of the facts.
TEST(Lengths, LayersWeighWhatTheyWork) {
  ModelFacts facts{.kind = "hybrid", .layers = {{.full = 2}, {.full = 8}, {.full = 2}}, .head = 6};
  const WorkWeights blocks = WeightsOf(facts, FlopsCount::kBlocks);
  const WorkWeights full = WeightsOf(facts, FlopsCount::kFull);
  // Half of the rows go after layer 0: 10 of 12 units of a row are halved, with the head 16 of 18.
  EXPECT_DOUBLE_EQ(ShareSaved({0}, blocks, 0.5), 5. / 12);
  EXPECT_DOUBLE_EQ(ShareSaved({0}, full, 0.5), 8. / 18);
  EXPECT_DOUBLE_EQ(Realised({{.layer = 0, .in = 10, .out = 5}}, 10, blocks), 5. / 12);
  EXPECT_DOUBLE_EQ(Realised({{.layer = 0, .in = 10, .out = 5}}, 10, full), 8. / 18);
  EXPECT_DOUBLE_EQ(Realised({{1, 10, 8}}, 10, blocks), 0.2 * 2 / 12);
  for (LayerWork& layer : facts.layers) layer.full *= 3;
  facts.head *= 3;
  EXPECT_EQ(ShareSaved({0}, WeightsOf(facts, FlopsCount::kFull), 0.6), ShareSaved({0}, full, 0.6));
}

TEST(Lengths, NothingRemovedIsExactlyZeroReduction) {
  for (int64_t tokens : {0, 1, 2, 7, 1000}) {
    const auto lengths = IntegerLengths(DefaultSites(24), 1, tokens, {Limit::kHalf, 4});
    EXPECT_EQ(Realised(lengths, tokens, Alike(24, 3.1)), 0.0);
    for (const SiteLength& site : lengths) EXPECT_EQ(site.out, tokens);
  }
}

}  // namespace
}  // namespace pith
