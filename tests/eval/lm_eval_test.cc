// Agreement with lm-evaluation-harness on the first 200 documents of each zero-shot task
// (golden/README.md): the same token ids in every request, log-likelihoods as transformers' Mamba
// gives them in float32, and the metrics that the harness prints. PITH_TEST_ALL=1 scores all the
// documents, else every tenth.
//
// The bound of 1e-3 nats is the project's: two float32 forwards of 24 layers differ by some 1e-5 a
// token, and continuations have up to a hundred. It is far below the differences that decide
// between these documents' choices.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/json.h"
#include "core/xz.h"
#include "eval/task.h"
#include "pith/engine.h"
#include "tests/device.h"

namespace pith {
namespace {

const std::filesystem::path kSource = PITH_SOURCE_DIR;
constexpr double kBound = 1e-3;
constexpr size_t kStep = 10;

const Json& Golden() {
  static const Json golden = [] {
    const std::filesystem::path path = kSource / "tests/eval/golden/lm_eval.json.xz";
    return ParseJson(ReadDataFile(path), path.string());
  }();
  return golden;
}

const Engine& Model() {
  static const Engine engine =
      Engine::Load(kSource / "models" / Golden().at("model").get<std::string>(),
                   {.device = testing::DeviceName()});
  return engine;
}

class LmEval : public ::testing::TestWithParam<std::string> {
 protected:
  std::vector<TaskItem> Items() const {
    return task_->MakeItems(
        Model(), {.data = kSource / "data", .limit = static_cast<int64_t>(documents_.size())});
  }

  const Json& golden_ = Golden().at("tasks").at(GetParam());
  const Json& documents_ = golden_.at("documents");
  std::unique_ptr<Task> task_ = MakeTask(GetParam());
};

TEST_P(LmEval, TokensOfEveryRequest) {
  const std::vector<TaskItem> items = Items();
  ASSERT_GE(documents_.size(), 200);
  ASSERT_EQ(items.size(), documents_.size());
  for (size_t d = 0; d < items.size(); ++d) {
    ASSERT_EQ(items[d].requests.size(), documents_[d].size()) << items[d].id;
    std::vector<int32_t> context;
    for (size_t r = 0; r < items[d].requests.size(); ++r) {
      const Json& request = documents_[d][r];
      if (!request[0].is_null()) context = request[0].get<std::vector<int32_t>>();
      ASSERT_EQ(items[d].requests[r].context, context) << items[d].id;
      ASSERT_EQ(items[d].requests[r].continuation, request[1].get<std::vector<int32_t>>())
          << items[d].id;
    }
  }
}

TEST_P(LmEval, LogLikelihoods) {
  const std::vector<TaskItem> items = Items();
  const size_t step = std::getenv("PITH_TEST_ALL") != nullptr ? 1 : kStep;
  std::vector<ScoreItem> requests;
  std::vector<const Json*> expected;
  for (size_t d = 0; d < items.size(); d += step) {
    for (size_t r = 0; r < items[d].requests.size(); ++r) {
      requests.push_back(items[d].requests[r]);
      expected.push_back(&documents_[d][r]);
    }
  }
  const std::vector<ScoreResult> results = Model().Score(requests);
  double worst = 0;
  for (size_t i = 0; i < results.size(); ++i) {
    const double logprob = (*expected[i])[2];
    worst = std::max(worst, std::abs(results[i].logprob - logprob));
    EXPECT_NEAR(results[i].logprob, logprob, kBound) << i;
    EXPECT_EQ(results[i].greedy, (*expected[i])[3].get<int>() == 1) << i;
  }
  RecordProperty("worst_difference", std::to_string(worst));
}

// From the harness's own log-likelihoods, what it prints. They are stored with six decimals.
TEST_P(LmEval, Metrics) {
  const std::vector<TaskItem> items = Items();
  std::vector<std::vector<Share>> shares(task_->metrics().size());
  for (size_t d = 0; d < items.size(); ++d) {
    std::vector<ScoreResult> results;
    for (const Json& request : documents_[d]) {
      results.push_back({.logprob = request[2], .greedy = request[3].get<int>() == 1});
    }
    const std::vector<Share> measured = task_->Measure(items[d], results);
    for (size_t m = 0; m < measured.size(); ++m) shares[m].push_back(measured[m]);
  }
  for (size_t m = 0; m < shares.size(); ++m) {
    const Metric& metric = task_->metrics()[m];
    const Estimate estimate = EstimateMetric(metric, shares[m]);
    const Json& printed = golden_.at("metrics");
    if (metric.name == "ppl") {
      EXPECT_NEAR(estimate.value / printed.at("perplexity").get<double>(), 1, 1e-6);
      continue;
    }
    EXPECT_NEAR(estimate.value, printed.at(metric.name).get<double>(), 1e-12);
    EXPECT_NEAR(estimate.standard_error, printed.at(metric.name + "_stderr").get<double>(), 1e-12);
  }
}

INSTANTIATE_TEST_SUITE_P(Tasks, LmEval,
                         ::testing::Values("lambada_openai", "hellaswag", "piqa", "arc_easy",
                                           "arc_challenge", "winogrande"),
                         [](const auto& task) { return task.param; });

}  // namespace
}  // namespace pith
