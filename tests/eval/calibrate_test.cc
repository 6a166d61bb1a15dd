// What a calibration writes: the file for --reduce reads back as the choice, `none` where nothing
// is within the budget, and says plainly where the held-out half is not and where recall was not
// measured; the page and the JSON hold every candidate. What it rests on: halves of which no token
// is in both, and a loss of recall whose error is never 0.
#include "eval/calibrate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "core/error.h"
#include "eval/layer_kinds.h"
#include "eval/report/html.h"
#include "pith/reduction_spec.h"

namespace pith {
namespace {

const CalibrationSource kSource = {.model = "m", .text = "t", .recall = "r"};

Calibration Made(bool within) {
  const std::string spec = "skim:full=0-3,window=16";
  const CandidateCost cost{.realised = 0.3, .nll = {0.001, 0.002, 8}, .recall = Estimate{0, 0, 8}};
  Calibration made{.search = {.trials = {{"skim:full=0-2,window=16", cost, false, {0, 1, 2}},
                                         {spec, cost, true, {0, 1, 2, 3}}},
                              .chosen = 1}};
  made.chosen = spec;
  made.layers = {{"Mamba-2", true}, {"MLP", false}, {"attention", true}, {"MLP", false}};
  made.chosen_on = made.held_out = cost;
  made.held_out_within = within;
  return made;
}

ReductionSpec ReadBack(const std::string& file) {
  const std::string path = testing::TempDir() + "calibrate_test.reduce";
  std::ofstream(path) << file;
  ReductionSpec spec = ReductionSpec::ParseOrRead("@" + path);
  std::filesystem::remove(path);
  return spec;
}

TEST(Calibration, TheFileReadsBackAsTheChoice) {
  for (const bool within : {true, false}) {
    const Calibration made = Made(within);
    const std::string file = CalibrationFile(made, kSource);
    EXPECT_EQ(ReadBack(file).ToString(), made.chosen);
    EXPECT_EQ(file.find("did not hold") == file.npos, within);
    EXPECT_NE(file.find("# layers in full: Mamba-2 0, MLP 1+3, attention 2\n"), file.npos);
    const OrderedJson layers = CalibrationToJson(made, kSource)["chosen_layers"];
    EXPECT_EQ(layers.size(), 4U);
    EXPECT_EQ(layers[2], (OrderedJson{{"layer", 2}, {"kind", "attention"}, {"role", "full"}}));
    EXPECT_EQ(CalibrationToJson(made, kSource)["held_out_within_budget"], within);
    const std::string page = ToHtml(CalibrationReport(made, kSource));
    EXPECT_EQ(page.find("NOT within") == page.npos, within);
    for (const Trial& trial : made.search.trials) EXPECT_NE(page.find(trial.spec), page.npos);
  }
}

TEST(Calibration, NothingChosenIsNone) {
  Calibration made = Made(true);
  made.search.trials.pop_back();
  made.search.chosen.reset();
  made.chosen = "none";
  made.chosen_on = made.held_out = {.nll = {0, 0, 8}};
  const std::string file = CalibrationFile(made, {.model = "m", .text = "t", .recall = ""});
  EXPECT_EQ(ReadBack(file).ToString(), "none");
  EXPECT_NE(file.find("No candidate was within"), file.npos);
  EXPECT_NE(file.find("# recall: not measured\n"), file.npos);
  EXPECT_EQ(CalibrationToJson(made, kSource)["chosen"], "none");
}

// Windows of 10 ids at every `step` of documents that hold `counts` windows each.
WindowHalves Halves(const std::vector<int>& counts, int64_t step) {
  std::vector<TextWindow> windows;
  for (size_t d = 0; d < counts.size(); ++d) {
    for (int i = 0; i < counts[d]; ++i) windows.push_back({d, i * step});
  }
  WindowHalves halves = HalveWindows(windows, 10);
  EXPECT_EQ(halves.choosing.size(), (windows.size() + 1) / 2);
  EXPECT_EQ(halves.choosing.size() + halves.held_out.size() + halves.dropped, windows.size());
  for (const TextWindow& a : halves.choosing) {
    for (const TextWindow& b : halves.held_out) {
      EXPECT_TRUE(a.document != b.document || std::abs(a.begin - b.begin) >= 10)
          << a.begin << " and " << b.begin;
    }
  }
  return halves;
}

TEST(Calibration, NoTokenIsInBothHalves) {
  EXPECT_EQ(Halves({8}, 10).held_out[0].begin, 10) << "turn by turn: none overlap";
  EXPECT_EQ(Halves({8}, 10).dropped, 0);
  EXPECT_EQ(Halves({4, 4}, 1).dropped, 0) << "halves in two documents";
  EXPECT_EQ(Halves({8}, 9).dropped, 1) << "with the last window of the first half";
  EXPECT_EQ(Halves({40}, 2).dropped, 4) << "at 2, 4, 6 and 8 from it";
  EXPECT_EQ(Halves({8}, 2).dropped, 4) << "all";
  EXPECT_EQ(Halves({1, 8, 3}, 3).dropped, 3);
  for (int step = 1; step < 12; ++step) {
    for (int more = 0; more < 9; ++more) Halves({3, more, 1, 2 * more}, step);
  }
}

// One changed token in one of n = 5 contexts of 10 tokens: influences (δ − 1/n) / 10, whose squares
// sum to (1 − 1/n) / 100, so that the s.e. is √((1 − 1/n) / (n − 1) / n) / 10 = 1 / 50: the floor.
TEST(Calibration, RecallIsNeverCertain) {
  const Metric metric{.name = "answer_tokens", .meaning = ""};
  const std::vector<Share> dense(5, Share{10, 10});
  const Estimate same = EstimateDifference(metric, dense, dense);
  ASSERT_EQ(same.standard_error, 0);
  std::vector<Share> changed = dense;
  changed[2].sum = 9;
  const Estimate one = EstimateDifference(metric, changed, dense);
  EXPECT_NEAR(RecallLoss(same, 50).standard_error, one.standard_error, 1e-12);
  EXPECT_FALSE(std::signbit(RecallLoss(same, 50).value));
  EXPECT_NEAR(RecallLoss(one, 50).value, 0.02, 1e-12) << "a loss is above 0";

  EXPECT_EQ(RecallLoss({0, 0.5, 5}, 50).standard_error, 0.5) << "a floor, not a sum";
  EXPECT_TRUE(std::isnan(RecallLoss({0, NAN, 1}, 50).standard_error)) << "unknown stays unknown";
  const CandidateCost cost{.recall = RecallLoss(same, 50)};
  EXPECT_LE(cost.Use({.recall = 0.021, .sigmas = 1}), 1);
  EXPECT_GT(cost.Use({.recall = 0.019, .sigmas = 1}), 1);
}

// A random hybrid of Mamba-2 and attention, and windows of random tokens: what is chosen is what is
// reported, layers with their kinds, and reads back as a reduction that the engine compiles.
TEST(Calibration, OfAHybridTellsTheKindOfWhatItChooses) {
  const auto model =
      std::filesystem::path(PITH_SOURCE_DIR) / "tests/golden/hf-granitemoehybrid";  // m p a p m p
  const Engine engine = Engine::Load(model, {.threads = 1});
  std::mt19937 random(1);
  const auto ids = [&](size_t count) {
    std::vector<int32_t> list(count);
    for (int32_t& id : list) id = static_cast<int32_t>(random() % 61);
    return list;
  };
  CalibrationSet set;
  for (auto* half : {&set.choosing, &set.held_out}) {
    EvalTask task{"perplexity", MakeTask("perplexity"), {}};
    for (int i = 0; i < 3; ++i) {
      task.items.push_back({.id = StrCat(half == &set.choosing ? "a" : "b", i),
                            .requests = {{.context = ids(64), .continuation = ids(8)}}});
    }
    half->push_back(std::move(task));
  }
  const std::filesystem::path file = testing::TempDir() + "calibrate_hybrid.jsonl";
  for (const std::string method : {"skim", "utrc@1%"}) {
    Journal journal(file, {{"method", method}}, /*fresh=*/true);
    const Calibration made =
        Calibrate(engine, set, {.budget = {.nll = 100}, .method = method, .context = 64}, journal);
    ASSERT_TRUE(made.search.chosen) << method;
    const OrderedJson json = CalibrationToJson(made, kSource);
    ASSERT_FALSE(json["chosen_layers"].empty());
    for (const OrderedJson& layer : json["chosen_layers"]) {
      const char* const kinds[] = {"Mamba-2", "MLP", "attention", "MLP", "Mamba-2", "MLP"};
      EXPECT_EQ(layer["kind"], kinds[layer["layer"].get<int>()]);
      EXPECT_EQ(layer["role"], method == "skim" ? "full" : "site");
      if (method != "skim") {
        EXPECT_NE(layer["kind"], "MLP");
      }
    }
    EXPECT_NO_THROW(engine.Compile(ReadBack(CalibrationFile(made, kSource)).ToString()));
    std::set<std::string> tried;
    for (const Trial& trial : made.search.trials)
      tried.insert(LayersByKind(made.layers, trial.layers));
    if (method == "skim") {  // attention's block alone in full, Mamba-2's alone
      EXPECT_TRUE(tried.contains("attention 2, MLP 3"));
      EXPECT_TRUE(tried.contains("Mamba-2 0+4, MLP 1+5"));
    } else {
      EXPECT_TRUE(tried.contains("attention 2"));
      EXPECT_TRUE(tried.contains("Mamba-2 0+4"));
    }
  }
  std::filesystem::remove(file);
  EXPECT_THROW(SiteCandidates(engine.info().layers, "utrc"), Error);
}

}  // namespace
}  // namespace pith
