// Blocks of a report: what they hold follows from the rows and fates by counting, so every expected
// value below is worked out by hand.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <variant>
#include <vector>

#include "eval/report/eval_sections.h"
#include "eval/report/inspect_blocks.h"
#include "tests/device.h"

namespace pith {
namespace {

using Strings = std::vector<std::string>;

TEST(Family, StrengthsOfAMethodAreOne) {
  EXPECT_EQ(MethodFamily("none"), "none");
  EXPECT_EQ(MethodFamily("utrc@30%"), "utrc");
  EXPECT_EQ(MethodFamily("utrc@10%:importance=l2"), "utrc:importance=l2");
  EXPECT_EQ(MethodFamily("skim@40%"), "skim");
  EXPECT_EQ(MethodFamily("skim:full=0-9,window=256"), "skim");
  EXPECT_EQ(MethodFamily("evit:keep=0.5"), "evit:keep=0.5");
}

EvalRow Row(const std::string& task, const std::string& method, double realised, double value,
            double difference) {
  EvalRow row{.task = task, .method = method, .items = 100};
  row.realised = realised;
  row.figures = {{.metric = {.name = "ppl"}, .estimate = {7, 1, 100}},
                 {.metric = {.name = "acc", .headline = true},
                  .estimate = {value, 0.05, 100},
                  .difference = Estimate{difference, 0.03, 100}}};
  return row;
}

std::vector<EvalRow> Rows() {
  return {Row("a", "none", 0, 0.5, 0),
          Row("a", "utrc@20%", 0.2, 0.4, -0.1),
          Row("a", "utrc@10%", 0.1, 0.45, -0.05),
          Row("a", "skim", 0.3, 0.5, 0),
          Row("b", "none", 0, 0.7, 0),
          Row("b", "utrc@20%", 0.2, 0.5, -0.2),
          Row("b", "utrc@10%", 0.1, 0.65, -0.05)};
}

const ReportPlot& PlotOf(const ReportSection& section) {
  return std::get<ReportPlot>(section.blocks.at(1));
}

TEST(EvalSections, OneATaskAndTheMean) {
  const auto sections = EvalSections(Rows());
  ASSERT_EQ(sections.size(), 3);
  EXPECT_EQ(sections[0].heading, "Mean accuracy");
  EXPECT_EQ(sections[1].heading, "a");
  EXPECT_EQ(sections[2].heading, "b");
  EXPECT_EQ(std::get<ReportTable>(sections[1].blocks[0]).rows.size(), 4);
  const ReportPlot& plot = PlotOf(sections[1]);
  EXPECT_EQ(plot.baseline, 0.5);
  ASSERT_EQ(plot.series.size(), 2);
  EXPECT_EQ(plot.series[0].name, "utrc");
  ASSERT_EQ(plot.series[0].points.size(), 2);
  EXPECT_EQ(plot.series[0].points[0].x, 10);  // by rising reduction, in per cent
  EXPECT_EQ(plot.series[0].points[0].y, 0.45);
  EXPECT_EQ(plot.series[0].points[0].error, 0.03);  // of the paired difference
  EXPECT_EQ(plot.series[0].points[1].label, "utrc@20%");
}

// utrc@20%: (.4 + .5) / 2 with √(.03² + .03²) / 2; skim ran on one task only.
TEST(EvalSections, MeanOfAccuracies) {
  const ReportSection mean = EvalSections(Rows())[0];
  const ReportPlot& plot = PlotOf(mean);
  EXPECT_DOUBLE_EQ(*plot.baseline, 0.6);
  ASSERT_EQ(plot.series.size(), 1);
  EXPECT_DOUBLE_EQ(plot.series[0].points[1].y, 0.45);
  EXPECT_DOUBLE_EQ(plot.series[0].points[1].error, 0.03 / std::sqrt(2));
  const auto& rows = std::get<ReportTable>(mean.blocks[0]).rows;
  ASSERT_EQ(rows.size(), 3);
  EXPECT_EQ(rows[1], (Strings{"utrc@20%", "20.0 %", "0.4500 ± 0.0354", "−0.1500 ± 0.0212"}));
}

TEST(EvalSections, NoMeanOfOne) {
  std::vector<EvalRow> rows = Rows();
  rows.resize(4);
  EXPECT_EQ(EvalSections(rows).size(), 1);
  for (EvalRow& row : rows) row.figures[1].difference.reset();
  const auto sections = EvalSections(rows);
  EXPECT_EQ(PlotOf(sections[0]).series[0].points[0].error, 0.05);  // of the value
  EXPECT_TRUE(EvalSections({}).empty());
}

TEST(WholeCharacters, GoToTheirFirstToken) {
  EXPECT_EQ(WholeCharacters(Strings{"a", "\xC4", "\xAD", "b"}),
            (Strings{"a", "\xC4\xAD", "", "b"}));
  EXPECT_EQ(WholeCharacters(Strings{"x\xE2", "\x80", "\x94 y"}),
            (Strings{"x\xE2\x80\x94", "", " y"}));
  EXPECT_EQ(WholeCharacters(Strings{"\xF0\x9F", "\x98\x80\xC3", "\xA9"}),
            (Strings{"\xF0\x9F\x98\x80", "\xC3\xA9", ""}));
  // No characters: as they were.
  EXPECT_EQ(WholeCharacters(Strings{"\xC4", "b", "\xE2\x80"}), (Strings{"\xC4", "b", "\xE2\x80"}));
  EXPECT_EQ(WholeCharacters(Strings{"", "a", ""}), (Strings{"", "a", ""}));
  EXPECT_TRUE(WholeCharacters({}).empty());
}

TEST(WrittenPairs, ARowPerHeadOfSkimmedLayers) {
  InspectReport report;
  report.plan.reduce = "skim";
  report.plan.skim = SkimBounds{.far = 32, .chunk = 16};
  report.far_writes = {{}, {{1, 0}, {1, 1}}, {{0, 0}, {0, 1}}};
  const ReportMap map = WrittenPairs(report);
  EXPECT_EQ(map.values, (std::vector<std::vector<double>>{{1, 0}, {1, 1}, {0, 0}, {0, 1}}));
  EXPECT_EQ(map.row_labels, (Strings{"1", "", "2", ""}));
  EXPECT_NE(map.note.find("50 % of 8 pairs"), std::string::npos);
  EXPECT_NE(map.note.find("1: 75 %, 2: 25 %"), std::string::npos);
  report.far_writes = {{}, {}};
  EXPECT_TRUE(WrittenPairs(report).values.empty());
}

const Engine& Model() {
  static const Engine engine =
      Engine::Load(std::filesystem::path(PITH_SOURCE_DIR) / "models/pith-13m-mamba1",
                   {.device = testing::DeviceName()});
  return engine;
}

std::vector<int32_t> SomeIds(int count) {
  std::vector<int32_t> ids;
  for (int i = 0; i < count; ++i) ids.push_back(100 + (i * 37) % 400);
  return ids;
}

// 200 tokens are 20 a tenth: the shares of a row add up to the rows that leave the site. What is
// gone stays gone, and equal contexts have the mean of one. Sums of 20ths: far from 1e-9 apart.
TEST(KeptPositions, CountWhatLeavesEachSite) {
  const Reduction reduction = Model().Compile("utrc@20%");
  const auto sites = Model().Plan(200, reduction).sites;
  const std::vector<std::vector<int32_t>> contexts(2, SomeIds(200));
  const ReportMap map = KeptPositions(Model(), contexts, reduction, {});
  ASSERT_EQ(map.values.size(), sites.size());
  ASSERT_GT(sites.size(), 1);
  EXPECT_EQ(map.row_labels[0], "after layer " + std::to_string(sites[0].layer));
  for (size_t s = 0; s < sites.size(); ++s) {
    ASSERT_EQ(map.values[s].size(), 10);
    double left = 0;
    for (size_t t = 0; t < 10; ++t) {
      left += 20 * map.values[s][t];
      if (s > 0) {
        EXPECT_LE(map.values[s][t], map.values[s - 1][t] + 1e-9);
      }
    }
    EXPECT_NEAR(left, static_cast<double>(sites[s].out), 1e-9);
  }
}

// truncate drops the oldest tokens.
TEST(KeptPositions, Truncation) {
  const std::vector<std::vector<int32_t>> contexts = {SomeIds(200)};
  const ReportMap map = KeptPositions(Model(), contexts, Model().Compile("truncate@30%"), {});
  ASSERT_EQ(map.values.size(), 1);
  EXPECT_TRUE(std::ranges::is_sorted(map.values[0]));
  EXPECT_EQ(map.values[0].front(), 0);
  EXPECT_EQ(map.values[0].back(), 1);
}

TEST(FateTokens, HoldTheText) {
  const InspectReport report = Model().Inspect(SomeIds(200), Model().Compile("utrc@20%"));
  const ReportTokens tokens = FateTokens(report, Model());
  std::string text;
  int64_t kept = 0;
  for (const auto& token : tokens.tokens) {
    text += token.text;
    kept += token.fate == ReportFate::kKept ? 1 : 0;
  }
  EXPECT_EQ(text, Model().Detokenize(SomeIds(200)));
  EXPECT_EQ(kept, report.plan.sites.back().out);
  // Those that enter the second site, as they leave it.
  EXPECT_EQ(FateTokens(report, Model(), 1).tokens.size(), report.plan.sites[1].in);
}

}  // namespace
}  // namespace pith
