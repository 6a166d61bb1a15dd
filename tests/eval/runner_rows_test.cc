// What a row says beside its metrics, against sums made here from the engine's own results: wanted
// and realised reduction, sites, coverage, and which items are left out where labels go unscored.

#include <gtest/gtest.h>

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "eval/cell.h"
#include "eval/runner.h"
#include "tests/engine/tiny_checkpoint.h"

namespace pith {
namespace {

const std::filesystem::path kSource = PITH_SOURCE_DIR;
const std::filesystem::path kModel = kSource / "models/pith-13m-mamba1";
constexpr char kMethod[] = "random@30%:protect=1";

const Engine& Model() {
  static const Engine engine =
      Engine::Load(kModel, {.device = testing::DeviceName(), .threads = 1});
  return engine;
}

class RowsTest : public ::testing::Test {
 protected:
  std::vector<EvalTask> Load(const std::string& name, int64_t limit) const {
    TaskOptions options{.data = kSource / "data", .limit = limit, .bos = true};
    options.context = 96;
    options.tail = 32;
    return LoadTasks(Model(), {name}, options);
  }

  // The row of kMethod; that of `none` precedes it.
  EvalRow Run(const std::vector<EvalTask>& tasks, ScoringMode mode) const {
    Journal journal(dir_.path() / "journal.jsonl", {{"a", 1}}, true);
    const auto rows =
        Evaluate(Model(), tasks, {.methods = {"none", kMethod}, .mode = mode}, journal);
    EXPECT_EQ(rows.size(), 2u);
    EXPECT_EQ(rows.at(0).Coverage(), 1);
    return rows.at(1);
  }

  std::vector<ScoreResult> Score(const TaskItem& item, ScoringMode mode) const {
    ScoreOptions options{.mode = mode};
    options.reduction = Model().Compile(kMethod);
    return Model().Score(item.requests, options);
  }

  testing::TempDir dir_;
};

TEST_F(RowsTest, WhatWasAskedFor) {
  const auto tasks = Load("piqa", 2);
  const EvalRow row = Run(tasks, ScoringMode::kContext);
  EXPECT_EQ(row.scoring, ScoringMode::kContext);
  EXPECT_EQ(row.wanted, 0.3);
  std::vector<int> sites;
  for (const SiteRows& site : Model().Plan(500, Model().Compile(kMethod)).sites) {
    sites.push_back(site.layer);
  }
  EXPECT_EQ(row.sites, sites);
  EXPECT_EQ(row.Coverage(), 1);
  EXPECT_EQ(row.left_out, 0);
  const std::string json = EvalRowsToJson({&row, 1}).dump();
  for (const char* part : {R"("scoring":"context")", R"("wanted":0.3)", R"("coverage":1.0)"}) {
    EXPECT_NE(json.find(part), std::string::npos) << part;
  }
  const std::string csv = EvalRowsToCsv({&row, 1});
  EXPECT_NE(csv.find(R"("context",0.3,")" + JoinSites(sites) + "\""), std::string::npos) << csv;
}

// winogrande has two contexts an item and one of piqa's serves two requests: contexts count once,
// with the continuations of all that share them.
TEST_F(RowsTest, TotalCountsContinuationsAsReadWhole) {
  for (const char* name : {"piqa", "winogrande"}) {
    const auto tasks = Load(name, 6);
    const EvalRow row = Run(tasks, ScoringMode::kContext);
    double saved = 0;
    int64_t tokens = 0;
    for (const TaskItem& item : tasks[0].items) {
      const auto results = Score(item, ScoringMode::kContext);
      std::set<std::vector<int32_t>> seen;
      for (size_t i = 0; i < results.size(); ++i) {
        const ScoreItem& request = item.requests[i];
        tokens += static_cast<int64_t>(request.continuation.size());
        if (!seen.insert(request.context).second) continue;
        tokens += static_cast<int64_t>(request.context.size());
        saved += results[i].realised * static_cast<double>(request.context.size());
      }
    }
    EXPECT_EQ(row.tokens, tokens) << name;
    // Sums of a dozen positive terms in another order: a few units in the last place.
    EXPECT_NEAR(row.realised_total, saved / static_cast<double>(tokens), 1e-15) << name;
    EXPECT_GT(row.realised_total, 0) << name;
    EXPECT_LT(row.realised_total, row.realised) << name;
  }
}

// Reductions keep the last row, so that some label of every item is scored: coverage falls, and
// items count with the labels that are left.
TEST_F(RowsTest, CoverageIsThatOfTheScores) {
  const auto tasks = Load("lambada_openai", 40);
  const EvalRow row = Run(tasks, ScoringMode::kSurvivors);
  int64_t labels = 0;
  int64_t scored = 0;
  std::vector<Share> nats;
  for (const TaskItem& item : tasks[0].items) {
    const auto results = Score(item, ScoringMode::kSurvivors);
    labels += static_cast<int64_t>(item.requests[0].continuation.size());
    scored += results[0].tokens;
    if (results[0].tokens > 0) nats.push_back({-results[0].logprob});
  }
  ASSERT_LT(scored, labels) << "the method must remove some labels, or nothing is tested";
  EXPECT_EQ(row.labels, labels);
  EXPECT_EQ(row.scored_labels, scored);
  EXPECT_EQ(row.left_out, 40 - nats.size());
  EXPECT_EQ(row.figures[0].estimate.n, nats.size());
  EXPECT_EQ(row.figures[0].difference->n, nats.size());
  EXPECT_EQ(row.figures[0].estimate.value, EstimateMetric(tasks[0].task->metrics()[0], nats).value);
}

// Two choices of log-likelihood −1 and, of no label at all, 0, which is not likelier.
TEST_F(RowsTest, ItemsWithoutAScoredLabelAreLeftOut) {
  const EvalTask task = Load("piqa", 1).at(0);
  const TaskItem& item = task.items[0];
  std::vector<ScoreResult> results(2);
  results[1 - item.gold] = {.logprob = -1, .tokens = 3};
  results[item.gold] = {.logprob = 0, .tokens = 0};
  for (const auto mode : {ScoringMode::kSurvivors, ScoringMode::kPaperFirst}) {
    for (const Share& share : MeasureItem(*task.task, item, results, mode)) {
      EXPECT_EQ(share.sum, 0);
      EXPECT_EQ(share.count, 0);
    }
  }
  const Share published = MeasureItem(*task.task, item, results, ScoringMode::kPublishedTail)[0];
  EXPECT_EQ(published.sum, 1) << "as the published code does, empty slices win";
  EXPECT_EQ(published.count, 1);
  results[item.gold].tokens = 1;
  EXPECT_EQ(MeasureItem(*task.task, item, results, ScoringMode::kSurvivors)[0].count, 1);
}

TEST_F(RowsTest, PerplexityIsThatOfTheScoredLabels) {
  const auto tasks = Load("perplexity", 4);
  const EvalRow row = Run(tasks, ScoringMode::kSurvivors);
  double nats = 0;
  int64_t scored = 0;
  for (const TaskItem& item : tasks[0].items) {
    const auto results = Score(item, ScoringMode::kSurvivors);
    nats -= results[0].logprob;
    scored += results[0].tokens;
  }
  EXPECT_EQ(row.labels, 4 * 32);
  EXPECT_EQ(row.scored_labels, scored);
  EXPECT_LT(row.Coverage(), 1);
  // The same four terms in the same order.
  EXPECT_EQ(row.figures[0].estimate.value, nats / static_cast<double>(scored));
}

}  // namespace
}  // namespace pith
