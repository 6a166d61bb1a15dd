// `pith reproduce figures` without its measuring: the paper's ratios are those that it prints,
// written out here; ratios are taken within a repeat; figures.json reads back to the last bit, and
// is refused where it is another run's or no such file.

#include "eval/reproduce/figures.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/error.h"
#include "eval/reproduce/paper_figures.h"
#include "tests/engine/tiny_checkpoint.h"

namespace pith {
namespace {

using testing::ErrorOf;

const PaperFigures& Paper() {
  static const PaperFigures paper =
      PaperFigures::Read(std::filesystem::path(PITH_SOURCE_DIR) / "data/paper/tables.json");
  return paper;
}

TEST(PaperFigures, AreThoseThatThePaperPrints) {
  // Throughput, and the share of peak memory that was saved, at 10, 20 and 30 %.
  const std::map<std::string, std::vector<double>> printed = {
      {"mamba2-1.3b", {1.10, 1.19, 1.35, 0.119, 0.239, 0.429}},
      {"mamba2-2.7b", {1.10, 1.22, 1.37, 0.114, 0.203, 0.306}},
      {"mamba-1.4b", {1.08, 1.15, 1.26, 0.152, 0.291, 0.447}},
      {"mamba-2.8b", {1.07, 1.17, 1.29, 0.144, 0.277, 0.400}}};
  for (const auto& [model, values] : printed) {
    for (int i = 0; i < 3; ++i) {
      const double reduction = (i + 1) / 10.0;
      SCOPED_TRACE(StrCat(model, " at ", reduction));
      EXPECT_EQ(Paper().Throughput(model, reduction), values[i]);
      ASSERT_TRUE(Paper().Memory(model, reduction).has_value());
      EXPECT_NEAR(*Paper().Memory(model, reduction), 1 - values[3 + i], 1e-12);
    }
    EXPECT_FALSE(Paper().Throughput(model, 0).has_value());
  }
  EXPECT_FALSE(Paper().Throughput("mamba2-130m", 0.1).has_value());
  EXPECT_FALSE(Paper().Memory("mamba2-130m", 0.1).has_value());
}

TEST(PaperFigures, RefusesWhatIsNone) {
  const auto error = [](const std::string& memory, const std::string& throughput) {
    return ErrorOf([&] {
      PaperFigures::Parse(StrCat(R"({"peak_memory_reduction": )", memory,
                                 R"(, "throughput_ratio": )", throughput, "}"),
                          "f.json");
    });
  };
  const auto holds = [](const std::string& message, const char* part) {
    EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  holds(error("{}", R"({"mamba3": {".1": 1.1}})"), "throughput_ratio.mamba3");
  holds(error(R"({"mamba-1.4b": {".1": 1.5}})", "{}"),
        "peak_memory_reduction.mamba-1.4b..1: got 1.5");
  holds(error("{}", R"({"mamba-1.4b": {"ten": 1.5}})"), "throughput_ratio.mamba-1.4b.ten");
  holds(error("{}", R"({"mamba-1.4b": {".1": 0}})"), "a ratio between 0 and 100");
  holds(error("[]", "{}"), "peak_memory_reduction");
  holds(error("{}", R"({"mamba-1.4b": 3})"), "mamba-1.4b");
}

FigureModel Model() {
  FigureModel model{.name = "mamba2-2.7b", .description = "a \"model\"", .parameters = 7};
  model.rows.push_back({.reduce = "none",
                        .method = "none",
                        .generate_ms = {100, 300, 110},
                        .tokens_per_second = 14.5,
                        .generate_peak_bytes = 50,
                        .score_peak_bytes = 40,
                        .score_ms = 1.0 / 3});
  model.rows.push_back({.reduce = "utrc@10%",
                        .method = "utrc",
                        .wanted = 0.1,
                        .realised = 0.09999999999999999,
                        .sites = {12, 17},
                        .generate_ms = {80, 100, 100},
                        .tokens_per_second = 16,
                        .generate_peak_bytes = 60,
                        .score_peak_bytes = 50,
                        .score_ms = 2});
  return model;
}

const OrderedJson kRun = {{"build", "b"}, {"device", "cpu"}, {"repeats", 3}};

TEST(Figures, RatiosAreTakenWithinARepeat) {
  const FigureModel model = Model();
  EXPECT_EQ(model.Throughput(model.rows[0]), 1);
  EXPECT_EQ(model.Throughput(model.rows[1]), 1.25);  // of 1.25, 3 and 1.1; of the medians 1.1
  EXPECT_EQ(model.Memory(model.rows[1]), 1.25);
}

TEST(Figures, TheFileReadsBackToTheLastBit) {
  const FigureModel model = Model();
  const OrderedJson json = FiguresJson(kRun, {&model, 1}, Paper());
  EXPECT_EQ(json["models"][0]["rows"][1]["paper_throughput_ratio"], 1.10);
  EXPECT_TRUE(json["models"][0]["rows"][0]["paper_memory_ratio"].is_null());
  const std::vector<FigureModel> read = ReadFigures(JsonText(json, 1), "f.json", kRun);
  ASSERT_EQ(read.size(), 1u);
  EXPECT_EQ(FiguresJson(kRun, read, Paper()).dump(), json.dump());
  EXPECT_TRUE(ReadFigures(JsonText(FiguresJson(kRun, {}, Paper())), "f.json", kRun).empty());
}

TEST(Figures, OnlyTheMethodOfThePaperStandsBesideIt) {
  FigureModel model = Model();
  model.rows[1].method = "truncate";
  const OrderedJson json = FiguresJson(kRun, {&model, 1}, Paper());
  EXPECT_TRUE(json["models"][0]["rows"][1]["paper_throughput_ratio"].is_null());
}

TEST(Figures, AnotherRunsFileIsRefusedByName) {
  const FigureModel model = Model();
  const std::string text = JsonText(FiguresJson(kRun, {&model, 1}, Paper()));
  OrderedJson other = kRun;
  other["device"] = "cuda";
  EXPECT_NE(ErrorOf([&] {
              ReadFigures(text, "f.json", other);
            }).find("f.json: device: got \"cuda\", the file has \"cpu\""),
            std::string::npos);
  other = kRun;
  other["prompt"] = 1;
  EXPECT_NE(ErrorOf([&] {
              ReadFigures(text, "f.json", other);
            }).find("prompt: got 1, the file has nothing"),
            std::string::npos);
}

TEST(Figures, ABrokenFileIsRefusedByName) {
  const FigureModel model = Model();
  const Json whole = Json::parse(FiguresJson(kRun, {&model, 1}, Paper()).dump());
  const auto error = [&](const std::function<void(Json&)>& edit) {
    Json json = whole;
    edit(json);
    return ErrorOf([&] { ReadFigures(json.dump(), "f.json", kRun); });
  };
  const auto row = [](Json& json) -> Json& { return json["models"][0]["rows"][1]; };
  const std::map<std::string, std::function<void(Json&)>> edits = {
      {"f.json: format", [](Json& json) { json["format"] = "pith figures 2"; }},
      {"f.json: models", [](Json& json) { json["models"] = 3; }},
      {"models[0].rows", [](Json& json) { json["models"][0]["rows"] = Json::array(); }},
      {"rows[1].generate_ms",
       [&](Json& json) {
         row(json)["generate_ms"] = {1.0, 2.0};
       }},
      {"rows[1].generate_ms: got",
       [&](Json& json) {
         row(json)["generate_ms"] = {1, 0, 1};
       }},
      {"rows[1].realised", [&](Json& json) { row(json)["realised"] = 1.5; }},
      {"rows[1].sites", [&](Json& json) { row(json)["sites"] = {1e300}; }},
      {"rows[1].score_peak_bytes", [&](Json& json) { row(json)["score_peak_bytes"] = 0; }},
      {"rows[1].reduce", [&](Json& json) { row(json).erase("reduce"); }}};
  for (const auto& [part, edit] : edits) {
    EXPECT_NE(error(edit).find(part), std::string::npos) << part << ": " << error(edit);
  }
}

TEST(Figures, CsvHasARowForEach) {
  const FigureModel model = Model();
  const std::string csv = FiguresCsv({&model, 1}, Paper());
  EXPECT_EQ(csv.substr(0, csv.find(',')), "model");
  EXPECT_NE(csv.find("\"mamba2-2.7b\",\"none\",0,0,1,,1,,14.5,50,40,0.3333333333333333\n"),
            std::string::npos)
      << csv;
  EXPECT_NE(csv.find("\"utrc@10%\",0.1,0.09999999999999999,1.25,1.1,1.25,0.886,16,60,50,2\n"),
            std::string::npos)
      << csv;
}

TEST(Figures, CountWhatThereIsToDo) {
  const FigureSettings settings{.methods = {"utrc", "skim"},
                                .prompt = 10,
                                .batch = 2,
                                .decode = 5,
                                .memory_batch = 3,
                                .repeats = 4};
  const std::vector<std::string> reductions = FigureReductions(settings);
  ASSERT_EQ(reductions.size(), 7u);
  EXPECT_EQ(reductions[0], "none");
  EXPECT_EQ(reductions[4], "skim@10%");
  EXPECT_EQ(FigureTokens(settings), 7 * (2 * 3 * 10 + 5 * 2 * (10 + 5)));
}

class FiguresOf : public testing::BothKinds {};

TEST_P(FiguresOf, AModelAreMeasured) {
  const FigureSettings settings{
      .prompt = 64, .batch = 2, .decode = 2, .memory_batch = 3, .repeats = 2};
  double last = 0;
  const RunControl control{.progress = [&](double share) {
    EXPECT_GE(share, last - 1e-9);
    EXPECT_LE(share, 1 + 1e-9);
    last = share;
  }};
  const FigureModel model = MeasureFigures({&engine_, 1}, "tiny", settings, control);
  EXPECT_GT(last, 0.5);
  ASSERT_EQ(model.rows.size(), 4u);
  EXPECT_TRUE(model.rows[0].sites.empty());
  for (size_t i = 0; i < model.rows.size(); ++i) {
    const FigureRow& row = model.rows[i];
    SCOPED_TRACE(row.reduce);
    const PlanReport plan = engine_.Plan(64, engine_.Compile(row.reduce));
    EXPECT_DOUBLE_EQ(row.realised, plan.realised);
    EXPECT_EQ(row.sites.size(), plan.sites.size());
    EXPECT_EQ(row.generate_ms.size(), 2u);
    EXPECT_GT(row.tokens_per_second, 0);
    EXPECT_GT(row.score_peak_bytes, engine_.info().parameters * 2);
    EXPECT_GT(row.generate_peak_bytes, engine_.info().parameters * 2);
  }
  EXPECT_GT(model.rows[3].realised, model.rows[1].realised);
}

INSTANTIATE_TEST_SUITE_P(Kinds, FiguresOf, ::testing::Bool(), testing::KindName);

}  // namespace
}  // namespace pith
