// What Inspect tells of each token must add up to the plan: as many tokens leave at each site as
// its lengths say, and a token merges into a position that outlived it there.

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "pith/engine.h"
#include "tests/engine/tiny_checkpoint.h"
#include "tests/reduce/ltmp_file.h"

namespace pith {
namespace {

using testing::RandomIds;

class Inspect : public testing::BothKinds {};

void CheckFates(const InspectReport& report, const std::vector<int32_t>& ids) {
  const auto site_of = [&](int64_t position) {
    const int site = report.tokens[position].site;
    return site < 0 ? static_cast<int>(report.plan.sites.size()) : site;
  };
  std::vector<int64_t> left(report.plan.sites.size(), 0);
  ASSERT_EQ(report.tokens.size(), ids.size());
  for (size_t p = 0; p < ids.size(); ++p) {
    const TokenFate& fate = report.tokens[p];
    EXPECT_EQ(fate.id, ids[p]);
    EXPECT_EQ(fate.merged_into >= 0, fate.merged_hidden || fate.merged_residual) << p;
    if (fate.site < 0) {
      EXPECT_EQ(fate.merged_into, -1) << p;
      continue;
    }
    ASSERT_LT(fate.site, std::ssize(left));
    left[fate.site] += 1;
    if (fate.merged_into < 0) continue;
    ASSERT_LT(fate.merged_into, std::ssize(ids));
    EXPECT_GT(site_of(fate.merged_into), fate.site) << p << " into " << fate.merged_into;
  }
  int64_t rows = std::ssize(ids);
  for (size_t site = 0; site < left.size(); ++site) {
    EXPECT_EQ(report.plan.sites[site].in, rows);
    rows -= left[site];
    EXPECT_EQ(report.plan.sites[site].out, rows);
  }
}

// Of the methods that remove rows; `none` and `skim` move none, and `auto` is one of the others.
TEST_P(Inspect, EveryMethodsFatesAddUp) {
  for (const MethodInfo& method : ListReductions()) {
    if (method.name == "none" || method.name == "skim" || method.name == "auto") continue;
    for (const int64_t length : {1, 2, 5, 40, 130}) {
      SCOPED_TRACE(::testing::Message() << method.name << ", " << length << " tokens");
      const Reduction reduction = engine_.Compile(method.name + "@20%");
      const std::vector<int32_t> ids = RandomIds(length, length);
      const InspectReport report = engine_.Inspect(ids, reduction);
      EXPECT_EQ(report.plan.realised, engine_.Plan(length, reduction).realised);
      CheckFates(report, ids);
      EXPECT_EQ(report.tokens.back().site, -1);  // the last row predicts what follows
      const std::vector<ScoreItem> item = {{ids, {1}}};
      EXPECT_EQ(engine_.Score(item, {.reduction = reduction})[0].context_rows,
                std::count_if(report.tokens.begin(), report.tokens.end(),
                              [](const TokenFate& fate) { return fate.site < 0; }));
    }
  }
}

TEST_P(Inspect, TellsPrunedFromMerged) {
  const std::vector<int32_t> ids = RandomIds(130, 3);
  const auto count = [&](const std::string& reduce, auto is) {
    const InspectReport report = engine_.Inspect(ids, engine_.Compile(reduce));
    CheckFates(report, ids);
    int64_t n = 0;
    for (const TokenFate& fate : report.tokens) n += fate.site >= 0 && is(fate) ? 1 : 0;
    return n;
  };
  const auto any = [](const TokenFate&) { return true; };
  const auto hidden = [](const TokenFate& fate) { return fate.merged_hidden; };
  const auto residual = [](const TokenFate& fate) { return fate.merged_residual; };
  const std::string merge = "utrc@20%:q-hidden=0,q-residual=0";
  const int64_t removed = count(merge, any);
  EXPECT_GT(removed, 20);
  EXPECT_EQ(count(merge, hidden), removed);
  EXPECT_EQ(count(merge, residual), removed);
  const std::string prune = "utrc@20%:q-hidden=1,q-residual=1";
  EXPECT_EQ(count(prune, any), removed);
  EXPECT_EQ(count(prune, hidden), 0);
  EXPECT_EQ(count(prune, residual), 0);
}

// Thresholds remove what they see fit: the plan tells this text's lengths, not the scheduled ones.
TEST_P(Inspect, CountsThatVaryAreThoseOfTheText) {
  const std::filesystem::path path = std::filesystem::path(::testing::TempDir()) / "inspect.ltmp";
  const double all = std::numeric_limits<double>::max();
  test::WriteLtmp({.keep = 0.9, .protect = 4, .options = {}, .sites = {{2, all, all}}}, path);
  const Reduction reduction = engine_.Compile("ltmp:keep=0.9,sites=2,thresholds=" + path.string());
  const std::vector<int32_t> ids = RandomIds(40, 5);
  const InspectReport report = engine_.Inspect(ids, reduction);
  CheckFates(report, ids);  // no edge merges, every unprotected row goes
  EXPECT_EQ(report.plan.sites[0].out, 4);
  EXPECT_DOUBLE_EQ(report.plan.realised, 36.0 / 40 * 5 / 8);
  EXPECT_EQ(report.plan.realised_blocks, report.plan.realised);
}

// Rows, importance and edges as the policy read them: what goes is what the report says went.
TEST_P(Inspect, ShowsWhatStoodAtEachSite) {
  const std::vector<int32_t> ids = RandomIds(100, 6);
  for (const char* reduce : {"utrc@20%", "utrc@20%:block=16", "random@20%", "truncate@20%"}) {
    SCOPED_TRACE(reduce);
    const bool matches = std::string(reduce).starts_with("utrc");
    std::vector<SiteRows> seen;
    const InspectReport report = engine_.Inspect(
        ids, engine_.Compile(reduce), {.on_site = [&](const SiteSight& sight) {
          seen.push_back({sight.layer, sight.rows, sight.rows - std::ssize(sight.removed)});
          EXPECT_EQ(sight.importance.size(), matches ? sight.rows : 0);
          EXPECT_EQ(sight.edges.size() > 0, matches);
          EXPECT_TRUE(std::ranges::is_sorted(sight.removed));
          EXPECT_EQ(sight.protected_tail, 4);
          for (const SiteEdge& edge : sight.edges) {
            EXPECT_LT(edge.row, sight.rows - sight.protected_tail);
            EXPECT_LT(edge.target, sight.rows - sight.protected_tail);
            EXPECT_LE(edge.similarity, 1.0001f);
          }
          for (const int32_t row : sight.removed) {
            const auto by_row = [row](const SiteEdge& edge) { return edge.row == row; };
            EXPECT_EQ(std::ranges::any_of(sight.edges, by_row), matches);
          }
        }});
    ASSERT_EQ(seen.size(), report.plan.sites.size());
    for (size_t s = 0; s < seen.size(); ++s) {
      EXPECT_EQ(seen[s].layer, report.plan.sites[s].layer);
      EXPECT_EQ(seen[s].in, report.plan.sites[s].in);
      EXPECT_EQ(seen[s].out, report.plan.sites[s].out);
    }
  }
}

TEST_P(Inspect, WithoutReductionAllAreKept) {
  const std::vector<int32_t> ids = RandomIds(20, 4);
  const InspectReport report = engine_.Inspect(ids, {});
  EXPECT_TRUE(report.plan.sites.empty());
  EXPECT_EQ(report.plan.realised, 0);
  CheckFates(report, ids);
  EXPECT_THROW(engine_.Inspect({}, {}), Error);
}

// The realised reduction is what the plan's own lengths give, summed over the layers.
TEST_P(Inspect, PlanCountsRowsOverLayers) {
  const PlanReport plan = engine_.Plan(1000, engine_.Compile("utrc@30%"));
  EXPECT_EQ(plan.tokens, 1000);
  int64_t rows = 1000;
  int64_t sum = 0;
  size_t next = 0;
  for (int layer = 0; layer < 8; ++layer) {
    sum += rows;
    if (next < plan.sites.size() && plan.sites[next].layer == layer) rows = plan.sites[next++].out;
  }
  EXPECT_EQ(next, plan.sites.size());
  EXPECT_DOUBLE_EQ(plan.realised_blocks, 1 - static_cast<double>(sum) / 8000);
  EXPECT_EQ(plan.realised, plan.realised_blocks);
  // Rounding to whole rows moves each of 4 sites by at most half a row over at most 5 layers.
  EXPECT_NEAR(plan.realised, 0.3, 4 * 0.5 * 5 / 8000);
  EXPECT_DOUBLE_EQ(plan.reduced_gflop, plan.dense_gflop * (1 - plan.realised_full));
  EXPECT_THROW(engine_.Plan(0, {}), Error);
}

INSTANTIATE_TEST_SUITE_P(Kinds, Inspect, ::testing::Bool(), testing::KindName);

}  // namespace
}  // namespace pith
