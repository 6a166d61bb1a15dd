// What `pith reproduce` runs, without running it: the paper's file is checked field by field, every
// table has the rows that the paper printed, and every reduction is one that pith builds on the
// paper's depths and on that of the shipped models. Row counts and numbers are those of the paper,
// written out here, not taken from the code.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/file.h"
#include "eval/reproduce/grid.h"
#include "eval/reproduce/models.h"
#include "eval/reproduce/results.h"
#include "load/model_config.h"
#include "model/facts.h"
#include "reduce/reduction.h"
#include "tests/load/checkpoint_builder.h"

namespace pith {
namespace {

// The error of a call that must fail; kInternal where it does not.
Error ErrorOf(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  return Error(ErrorCode::kInternal, "no error");
}

const std::filesystem::path kFile =
    std::filesystem::path(PITH_SOURCE_DIR) / "data/paper/tables.json";
constexpr ScoringMode kModes[] = {ScoringMode::kContext, ScoringMode::kPublishedTail};

const PaperTables& Paper() {
  static const PaperTables paper = PaperTables::Read(kFile);
  return paper;
}

ModelShape Shape(const std::string& paper_model) {
  const PaperModel* model = FindPaperModel(paper_model);
  return {std::string(model->kind), model->n_layer};
}

// Of a shipped model, in the paper's depth or another.
ModelFacts Facts(const ModelShape& shape) {
  ModelConfig config = LoadModelConfig(
      std::filesystem::path(PITH_SOURCE_DIR) /
      (shape.kind == kMamba1Kind ? "models/pith-13m-mamba1" : "models/pith-27m-mamba2") /
      "config.json");
  config.layers.resize(shape.n_layer, config.layers[0]);
  return FactsOf(config);
}

std::vector<std::string> Methods(const Grid& grid) {
  std::vector<std::string> methods;
  for (const GridRow& row : grid.rows) methods.push_back(row.method);
  return methods;
}

const GridRow* Find(const Grid& grid, const std::string& method) {
  const auto found = std::ranges::find(grid.rows, method, &GridRow::method);
  return found == grid.rows.end() ? nullptr : &*found;
}

TEST(PaperTables, HoldsEveryRowThatThePaperPrinted) {
  EXPECT_EQ(Paper().Rows("table1", "mamba2-1.3b").size(), 7u);
  EXPECT_EQ(Paper().Rows("table1", "mamba2-2.7b").size(), 10u);
  EXPECT_EQ(Paper().Rows("table2", "mamba-1.4b").size(), 7u);
  EXPECT_EQ(Paper().Rows("table2", "mamba-2.8b").size(), 10u);
  EXPECT_EQ(Paper().Rows("table3", "mamba2-2.7b").size(), 4u);
  EXPECT_EQ(Paper().Rows("table3", "mamba-2.8b").size(), 4u);
  EXPECT_EQ(Paper().Rows("table4", "mamba2-2.7b").size(), 6u);
  EXPECT_EQ(Paper().Rows("table5", "mamba2-2.7b").size(), 7u);
  EXPECT_EQ(Paper().Rows("table6", "mamba2-2.7b").size(), 3u);
  EXPECT_TRUE(Paper().Rows("table6", "mamba-2.8b").empty());
}

// The paper's average is the mean of its six accuracies. Each of them and the average is rounded by
// at most .05, so they agree to .1; a slip of the pen in the file would show.
TEST(PaperTables, AveragesAreThoseOfTheRows) {
  int rows = 0;
  for (const auto& [table, model] : {std::pair("table1", "mamba2-1.3b"),
                                     {"table1", "mamba2-2.7b"},
                                     {"table2", "mamba-1.4b"},
                                     {"table2", "mamba-2.8b"}}) {
    for (const PaperRow& row : Paper().Rows(table, model)) {
      double sum = 0;
      for (const PaperColumn& column : PaperColumns()) {
        if (column.percent) sum += row.values.find(column.field)->second;
      }
      EXPECT_NEAR(sum / 6, row.values.at("avg"), 0.1 + 1e-9)
          << table << ", " << model << ", " << row.method << " at " << row.reduction;
      ++rows;
    }
  }
  EXPECT_EQ(rows, 34);
}

// One field of the file spoilt at a time.
TEST(PaperTables, RefusesWhatIsNoTable) {
  const Json good = ParseJson(ReadFile(kFile), "tables.json");
  const auto spoilt = [&](const std::string& pointer, const Json& value) {
    Json json = good;
    json[Json::json_pointer(pointer)] = value;
    return ErrorOf([&] { PaperTables::Parse(json.dump(), "tables.json"); });
  };
  const std::vector<std::tuple<std::string, Json, std::string>> cases = {
      {"/table1", 3, "table1"},
      {"/table2", Json::array(), "table2"},
      {"/table1/0", "dense", "table1[0]"},
      {"/table1/1/model", "mamba-9b", "table1[1].model"},
      {"/table1/1/method", "tome", "table1[1].method"},
      {"/table1/1/flops_reduction", 1.5, "table1[1].flops_reduction"},
      {"/table1/1/flops_reduction", nullptr, "table1[1].flops_reduction"},
      {"/table1/2/lambada_ppl", -1, "table1[2].lambada_ppl"},
      {"/table1/2/lambada_ppl", "4", "table1[2].lambada_ppl"},
      {"/table1/2/piqa", 101, "table1[2].piqa"},
      {"/table3/0/metric", "max", "table3[0].metric"},
      {"/table3/0/avg", nullptr, "table3[0].avg"},
      {"/table4/0/sites", {3, 3}, "table4[0].sites"},
      {"/table4/0/sites", {64}, "table4[0].sites"},
      {"/table4/0/sites", {uint64_t{1} << 63}, "table4[0].sites"},
      {"/table4/0/sites", {1.5}, "table4[0].sites"},
      {"/table5/0/hidden", "hybrid:2", "table5[0].hidden"},
      {"/table5/0/hidden", "hybrid:0.5x", "table5[0].hidden"},
      {"/table5/0/residual", "drop", "table5[0].residual"}};
  for (const auto& [pointer, value, name] : cases) {
    const Error error = spoilt(pointer, value);
    EXPECT_EQ(error.code(), ErrorCode::kCorruptData) << pointer;
    EXPECT_NE(std::string(error.what()).find(name), std::string::npos) << error.what();
  }
  EXPECT_EQ(ErrorOf([] { PaperTables::Parse("[]", "tables.json"); }).code(),
            ErrorCode::kCorruptData);
}

// Dense, then three reductions with the paper's methods and two rows of ours (one in the other
// mode, where UTRC stands twice).
TEST(Grid, MainTablesHaveEveryMethodAtEveryReduction) {
  for (const auto& [table, model] : {std::pair("table1", "mamba2-1.3b"),
                                     {"table1", "mamba2-2.7b"},
                                     {"table2", "mamba-1.4b"},
                                     {"table2", "mamba-2.8b"}}) {
    const Grid sound = MakeGrid(Paper(), table, model, Shape(model), ScoringMode::kContext);
    EXPECT_EQ(sound.rows.size(), 1u + 3 * 5);
    EXPECT_EQ(sound.rows[0].method, "none");
    ASSERT_TRUE(sound.rows[0].paper.has_value());
    EXPECT_EQ(
        std::ranges::count_if(sound.rows, [](const auto& row) { return row.paper.has_value(); }),
        static_cast<int64_t>(Paper().Rows(table, model).size()));
    const Grid published =
        MakeGrid(Paper(), table, model, Shape(model), ScoringMode::kPublishedTail);
    EXPECT_EQ(published.rows.size(), 1u + 3 * 5);
  }
}

TEST(Grid, RowsStandBesideTheirNumbers) {
  const Grid sound =
      MakeGrid(Paper(), "table1", "mamba2-2.7b", Shape("mamba2-2.7b"), ScoringMode::kContext);
  const GridRow* utrc = Find(sound, "utrc@30%:sites=12+17+22+27+32+37+42");
  ASSERT_NE(utrc, nullptr);
  EXPECT_EQ(utrc->paper->values.at("lambada_ppl"), 42.61);
  const GridRow* skim = Find(sound, "skim@20%");
  ASSERT_NE(skim, nullptr);
  EXPECT_FALSE(skim->paper.has_value());

  const Grid published =
      MakeGrid(Paper(), "table1", "mamba2-1.3b", Shape("mamba2-1.3b"), ScoringMode::kPublishedTail);
  const std::string options = "lengths=published,mode=published,protect=0,sites=10+15+20+25+30+35";
  const GridRow* evit = Find(published, "evit@10%:" + options);
  ASSERT_NE(evit, nullptr);
  EXPECT_EQ(evit->paper->values.at("lambada_ppl"), 27.1);
  const GridRow* beyond = Find(published, "pumer@30%:" + options);
  ASSERT_NE(beyond, nullptr);
  EXPECT_FALSE(beyond->paper.has_value()) << "the paper stops at 20 % for this model";
}

// The same reduction in several tables must be the same text, or it is computed twice.
TEST(Grid, AblationsShareTheirDefaultRow) {
  const ModelShape shape = Shape("mamba2-2.7b");
  const auto grid = [&](const char* table) {
    return MakeGrid(Paper(), table, "mamba2-2.7b", shape, ScoringMode::kContext);
  };
  const std::string sites = "sites=12+17+22+27+32+37+42";
  EXPECT_EQ(grid("table3").rows.size(), 5u);
  EXPECT_EQ(Find(grid("table3"), "utrc@20%:" + sites)->paper->importance, "clip");
  EXPECT_NE(Find(grid("table3"), "utrc@20%:importance=l2," + sites), nullptr);
  EXPECT_EQ(grid("table4").rows.size(), 7u);
  EXPECT_EQ(Find(grid("table4"), "utrc@20%:" + sites)->paper->values.at("avg"), 58.7);
  EXPECT_EQ(grid("table5").rows.size(), 8u);
  // Table 5 as printed, not as Tables 1 and 6 have it.
  EXPECT_EQ(Find(grid("table5"), "utrc@30%:" + sites)->paper->values.at("lambada_ppl"), 40.61);
  EXPECT_NE(Find(grid("table5"), "utrc@30%:q-hidden=0.8,q-residual=0.2," + sites), nullptr);
  EXPECT_NE(Find(grid("table5"), "utrc@30%:q-hidden=0," + sites), nullptr);
  EXPECT_NE(Find(grid("table5"), "utrc@30%:q-hidden=1,q-residual=1," + sites), nullptr);
  EXPECT_EQ(grid("table6").rows.size(), 7u);
  EXPECT_EQ(Find(grid("table6"), "ltmp@10%:" + sites)->paper->values.at("avg"), 57.2);
  EXPECT_EQ(Find(grid("table6"), "utrc@30%:" + sites)->paper->values.at("lambada_ppl"), 42.61);
}

// The published code has neither l1 and l2 nor shares other than a half.
TEST(Grid, PublishedRowsOnlyWhereCodeWasPublished) {
  const auto count = [&](const char* table) {
    const Grid grid =
        MakeGrid(Paper(), table, "mamba2-2.7b", Shape("mamba2-2.7b"), ScoringMode::kPublishedTail);
    return std::ranges::count_if(
        grid.rows, [](const auto& row) { return row.method.starts_with("utrc-published"); });
  };
  EXPECT_EQ(count("table3"), 1);
  EXPECT_EQ(count("table4"), 6);
  EXPECT_EQ(count("table5"), 5);
  EXPECT_EQ(count("table6"), 3);
}

TEST(Grid, EveryReductionCanBeBuilt) {
  for (const std::string_view kind : {kMamba1Kind, kMamba2Kind}) {
    for (const int64_t n_layer : {24, 48, 64}) {
      for (const std::string_view table : kPaperTables) {
        if (!TableFits(table, kind)) continue;
        const ModelShape shape{std::string(kind), n_layer};
        const std::string beside = ClosestPaperModel(Paper(), table, kind);
        for (const ScoringMode mode : kModes) {
          const Grid grid = MakeGrid(Paper(), table, beside, shape, mode);
          for (const std::string& method : Methods(grid)) {
            const ReductionSpec spec = ReductionSpec::Parse(method);
            EXPECT_EQ(spec.ToString(), method);
            EXPECT_EQ(CompileReduction(spec, Facts(shape)).text(), method);
          }
          const auto methods = Methods(grid);
          EXPECT_EQ(std::set(methods.begin(), methods.end()).size(), methods.size())
              << table << ", " << n_layer << " layers: two rows are one reduction";
        }
      }
    }
  }
}

TEST(Grid, SitesScaleWithTheDepth) {
  const std::vector<int> sites = {12, 17, 22, 27, 32, 37, 42};
  EXPECT_EQ(ScaleSites(sites, 64, 64), sites);
  // site · 24 / 64 = 4.5, 6.375, 8.25, 10.125, 12, 13.875, 15.75
  EXPECT_EQ(ScaleSites(sites, 64, 24), (std::vector<int>{5, 6, 8, 10, 12, 14, 16}));
  EXPECT_EQ(ScaleSites(sites, 64, 4), (std::vector<int>{1, 2}));
  EXPECT_EQ(ScaleSites(sites, 64, 1), (std::vector<int>{0}));
}

TEST(Grid, NumbersComeFromTheSameKindWhereThereIsOne) {
  EXPECT_EQ(ClosestPaperModel(Paper(), "table1", kMamba2Kind), "mamba2-2.7b");
  EXPECT_EQ(ClosestPaperModel(Paper(), "table3", kMamba1Kind), "mamba-2.8b");
  EXPECT_EQ(ClosestPaperModel(Paper(), "table6", kMamba1Kind), "mamba2-2.7b");
}

class ModelsTest : public ::testing::Test {
 protected:
  void WriteConfig(const std::string& name, int layers, const char* layer) {
    std::filesystem::create_directories(dir_.path() / name);
    dir_.Write(name + "/config.json",
               StrCat(R"({"d_model": 64, "n_layer": )", layers, R"(, "vocab_size": 50277, )",
                      R"("ssm_cfg": {"layer": ")", layer, R"("}})"));
  }

  testing::TempDir dir_;
};

TEST_F(ModelsTest, FindsCheckpointsByTheirNames) {
  WriteConfig("mamba2-2.7b", 64, "Mamba2");
  WriteConfig("state-spaces/mamba-1.4b", 48, "Mamba1");
  const std::vector<std::string> tables = {"table1", "table2", "table4"};
  const ReproduceModels models = FindPaperModels(Paper(), tables, dir_.path(), "data");
  ASSERT_EQ(models.found.size(), 2u);
  EXPECT_EQ(models.found[0].name, "mamba2-2.7b");
  EXPECT_EQ(models.found[0].tables, (std::vector<std::string>{"table1", "table4"}));
  EXPECT_EQ(models.found[0].tokenizer.filename(), "gpt-neox-20b.tokenizer.json.xz");
  EXPECT_EQ(models.found[1].directory, dir_.path() / "state-spaces/mamba-1.4b");
  ASSERT_EQ(models.missing.size(), 2u);
  const std::string message = models.missing[0].Describe();
  for (const char* part : {"mamba2-1.3b", "table1", "state-spaces/mamba2-1.3b", "gpt-neox-20b"}) {
    EXPECT_NE(message.find(part), std::string::npos) << message;
  }
}

TEST_F(ModelsTest, RefusesAnotherModelOfTheName) {
  WriteConfig("mamba2-2.7b", 24, "Mamba2");
  const Error error = ErrorOf([&] { FindPaperModels(Paper(), {"table1"}, dir_.path(), "data"); });
  EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
  EXPECT_NE(std::string(error.what()).find("24 layers"), std::string::npos) << error.what();
}

TEST_F(ModelsTest, OpensAnyModelForTheTablesOfItsKind) {
  WriteConfig("a/small", 4, "Mamba1");
  WriteConfig("b/small", 4, "Mamba2");
  const ReproduceModels models =
      OpenModels({"table1", "table2", "table3"}, {(dir_.path() / "a/small/").string()});
  ASSERT_EQ(models.found.size(), 1u);
  EXPECT_EQ(models.found[0].name, "small");
  EXPECT_EQ(models.found[0].tables, (std::vector<std::string>{"table2", "table3"}));
  const auto code = [&](const std::vector<std::string>& tables,
                        const std::vector<std::string>& directories) {
    return ErrorOf([&] { OpenModels(tables, directories); }).code();
  };
  EXPECT_EQ(code({"table1"}, {(dir_.path() / "a/small").string()}), ErrorCode::kInvalidArgument);
  EXPECT_EQ(
      code({"table3"}, {(dir_.path() / "a/small").string(), (dir_.path() / "b/small").string()}),
      ErrorCode::kInvalidArgument);
  EXPECT_EQ(code({"table3"}, {(dir_.path() / "none").string()}), ErrorCode::kNotFound);
}

// value and error of six tasks that differ: 10 … 60 % with errors of 1 %.
TEST(Results, AverageIsTheMeanWithItsError) {
  std::vector<EvalRow> rows;
  double value = 0;
  for (const std::string& task : PaperTasks()) {
    value += 0.1;
    EvalRow row{.task = task, .method = "none", .items = 7};
    for (const char* metric : {"acc", "acc_norm", "ppl"}) {
      row.figures.push_back({.metric = {.name = metric}, .estimate = {value, 0.01, 7}});
    }
    row.realised = value / 10;
    rows.push_back(row);
  }
  const Grid grid{.table = "table1",
                  .paper_model = "mamba2-2.7b",
                  .rows = {{.name = "dense",
                            .method = "none",
                            .paper = Paper().Rows("table1", "mamba2-2.7b").front()}}};
  const ReproduceTable table = MakeReproduceTable(grid, "mamba2-2.7b", rows);
  ASSERT_EQ(table.rows.size(), 1u);
  const ReproduceRow& row = table.rows[0];
  EXPECT_NEAR(row.average().value, 35, 1e-9);
  EXPECT_NEAR(row.average().standard_error, 1 / std::sqrt(6.0), 1e-9);
  EXPECT_EQ(row.average().paper, 63.8);
  EXPECT_NEAR(row.realised, 0.035, 1e-12);
  EXPECT_EQ(row.figures.front().paper, 4.1);  // perplexity, not in per cent
  EXPECT_NEAR(row.figures.front().value, 0.1, 1e-12);
  EXPECT_EQ(table.items, 7);
  EXPECT_TRUE(table.own_numbers());
}

}  // namespace
}  // namespace pith
