// The runner and its journal: what was scored is never scored again and gives the same figures to
// the last bit, however often the run was stopped; a journal of other options or other items is
// refused; a torn last line is dropped, a broken one reported. Figures are compared as JSON text,
// whose doubles are exact; only clock and memory may differ.

#include "eval/runner.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/file.h"
#include "eval/fingerprint.h"
#include "tests/engine/tiny_checkpoint.h"

namespace pith {
namespace {

using testing::ErrorOf;

const std::filesystem::path kSource = PITH_SOURCE_DIR;
const std::filesystem::path kModel = kSource / "models/pith-13m-mamba1";

const Engine& Model() {
  static const Engine engine =
      Engine::Load(kModel, {.device = testing::DeviceName(), .threads = 1});
  return engine;
}

TaskOptions SmallTasks() { return {.data = kSource / "data", .limit = 3, .bos = true}; }

OrderedJson Print(const TaskOptions& options, const std::string& dtype = "f32") {
  return Fingerprint(Model(), {.dtype = dtype}, kModel, {}, options, ScoringMode::kContext);
}

const std::vector<EvalTask>& Tasks() {
  static const std::vector<EvalTask> tasks =
      LoadTasks(Model(), {"lambada_openai", "piqa"}, SmallTasks());
  return tasks;
}

// Rows without what the clock and the memory say.
std::string Figures(const std::vector<EvalRow>& rows) {
  OrderedJson json = EvalRowsToJson(rows);
  for (OrderedJson& row : json) {
    for (const char* field : {"context_seconds", "tokens_per_second", "peak_memory_bytes"}) {
      row.erase(field);
    }
  }
  return json.dump();
}

class RunnerTest : public ::testing::Test {
 protected:
  std::filesystem::path path() const { return dir_.path() / "journal.jsonl"; }

  std::vector<EvalRow> Run(const RunControl& control = {}) {
    Journal journal(path(), Print(SmallTasks()));
    return Evaluate(Model(), Tasks(), {.methods = {"none", "utrc@20%"}, .control = control},
                    journal);
  }

  testing::TempDir dir_;
};

TEST_F(RunnerTest, RowsStandForEveryTaskAndMethod) {
  const std::vector<EvalRow> rows = Run();
  ASSERT_EQ(rows.size(), 4u);
  for (const EvalRow& row : rows) {
    const bool dense = row.method == "none";
    EXPECT_EQ(row.items, 3);
    EXPECT_EQ(row.contexts, 3) << "candidates share a context";
    EXPECT_EQ(row.realised > 0, !dense);
    EXPECT_GT(row.context_seconds, 0);
    for (const EvalFigure& figure : row.figures) {
      EXPECT_EQ(figure.estimate.n, 3);
      ASSERT_TRUE(figure.difference.has_value());
      if (dense) {
        EXPECT_EQ(figure.difference->value, 0);
      }
    }
  }
  EXPECT_EQ(rows[0].task, "lambada_openai");
  EXPECT_EQ(rows[1].method, "utrc@20%");
  EXPECT_EQ(rows[2].task, "piqa");
}

// The engine's own scores, without runner and journal between.
TEST_F(RunnerTest, FiguresAreThoseOfTheScores) {
  const std::vector<EvalRow> rows = Run();
  const EvalTask& piqa = Tasks()[1];
  std::vector<Share> shares;
  for (const TaskItem& item : piqa.items) {
    ScoreOptions options;
    options.logprobs = piqa.task->needs_logprobs();
    options.reduction = Model().Compile("utrc@20%");
    shares.push_back(piqa.task->Measure(item, Model().Score(item.requests, options)).at(0));
  }
  EXPECT_EQ(rows[3].figures[0].estimate.value,
            EstimateMetric(piqa.task->metrics()[0], shares).value);
}

TEST_F(RunnerTest, StoppedAnywhereItEndsTheSame) {
  const std::string whole = Figures(Run());
  const std::string journal = ReadFile(path());
  // After the fingerprint and 0, 3, 6, 9 of the 12 items.
  size_t cut = journal.find('\n') + 1;
  for (int items = 0; items < 12; items += 3) {
    dir_.Write("journal.jsonl", journal.substr(0, cut));
    EXPECT_EQ(Figures(Run()), whole) << items << " items were there";
    for (int i = 0; i < 3; ++i) cut = journal.find('\n', cut) + 1;
  }
  EXPECT_EQ(cut, journal.size());
}

TEST_F(RunnerTest, AnExceptionKeepsWhatWasScored) {
  struct Stop {};
  int calls = 0;
  const RunControl control{.progress = [&](double) {
    if (++calls == 3) throw Stop();
  }};
  EXPECT_THROW(Run(control), Stop);
  size_t kept = 0;
  {
    const Journal journal(path(), Print(SmallTasks()));
    kept = journal.size();
  }
  EXPECT_GT(kept, 0u);
  EXPECT_LT(kept, 12u);
  const std::string resumed = Figures(Run());
  std::filesystem::remove(path());
  EXPECT_EQ(resumed, Figures(Run()));
}

TEST_F(RunnerTest, NothingIsScoredTwice) {
  Run();
  const std::string journal = ReadFile(path());
  int calls = 0;
  Run({.progress = [&](double) { ++calls; }});
  EXPECT_EQ(calls, 0);
  EXPECT_EQ(ReadFile(path()), journal);
}

TEST_F(RunnerTest, TornLastLineIsDropped) {
  const std::string whole = Figures(Run());
  const std::string journal = ReadFile(path());
  const size_t last = journal.rfind('\n', journal.size() - 2) + 1;
  for (const size_t length : {last + 1, (last + journal.size()) / 2, journal.size() - 1}) {
    dir_.Write("journal.jsonl", journal.substr(0, length));
    {
      const Journal torn(path(), Print(SmallTasks()));
      EXPECT_EQ(torn.size(), 11u);
      EXPECT_EQ(std::filesystem::file_size(path()), last);
    }
    EXPECT_EQ(Figures(Run()), whole);
  }
  dir_.Write("journal.jsonl", journal.substr(0, 20));  // not even the fingerprint
  EXPECT_EQ(Figures(Run()), whole);
}

TEST_F(RunnerTest, OtherOptionsAreRefusedByName) {
  Run();
  const std::string journal = ReadFile(path());
  TaskOptions options = SmallTasks();
  options.bos = false;
  const auto error = [&](const OrderedJson& print) {
    return ErrorOf([&] { Journal(path(), print); });
  };
  EXPECT_NE(error(Print(options)).find(": bos: got false, the journal has true"),
            std::string::npos);
  EXPECT_NE(error(Print(SmallTasks(), "bf16")).find(": dtype: got \"bf16\""), std::string::npos);
  OrderedJson more = Print(SmallTasks());
  more["new"] = 1;
  EXPECT_NE(error(more).find(": new: got 1, the journal has nothing"), std::string::npos);
  EXPECT_EQ(ReadFile(path()), journal) << "a refused journal stays as it was";
  options = SmallTasks();
  options.limit = 2;  // the same items, fewer of them
  EXPECT_NO_THROW(Journal(path(), Print(options)));
  const Journal fresh(path(), more, true);
  EXPECT_EQ(fresh.size(), 0u);
}

TEST_F(RunnerTest, ChangedItemsAreRefused) {
  Run();
  std::vector<EvalTask> tasks = Tasks();
  tasks[1].items[2].gold = 1 - tasks[1].items[2].gold;
  Journal journal(path(), Print(SmallTasks()));
  const std::string message =
      ErrorOf([&] { Evaluate(Model(), tasks, {.methods = {"none"}}, journal); });
  EXPECT_NE(message.find("piqa, item " + tasks[1].items[2].id), std::string::npos) << message;
}

// A file that a method reads is part of what was measured.
TEST_F(RunnerTest, AMethodsFileMayNotChangeUnderAJournal) {
  dir_.Write("counts.json", R"({"counts": [1, 2, 3]})");
  const std::string table = (dir_.path() / "counts.json").string();
  const EvalOptions options{.methods = {"utrc@20%:importance=rarity,table=" + table}};
  const std::vector<EvalTask> tasks = {Tasks()[1]};
  Journal journal(path(), Print(SmallTasks()));
  const std::string figures = Figures(Evaluate(Model(), tasks, options, journal));
  EXPECT_EQ(Figures(Evaluate(Model(), tasks, options, journal)), figures);
  dir_.Write("counts.json", R"({"counts": [3, 2, 1]})");
  EXPECT_NE(ErrorOf([&] { Evaluate(Model(), tasks, options, journal); }).find("has changed"),
            std::string::npos);
}

TEST_F(RunnerTest, TasksOfSingleTokensWantTheContextMode) {
  TaskOptions few = SmallTasks();
  few.limit = 1;
  const std::vector<EvalTask> tasks = LoadTasks(Model(), {"recall"}, few);
  Journal journal(path(), Print(few));
  const EvalOptions options{.methods = {"utrc@20%"}, .mode = ScoringMode::kSurvivors};
  EXPECT_NE(ErrorOf([&] {
              Evaluate(Model(), tasks, options, journal);
            }).find("recall: got scoring mode survivors"),
            std::string::npos);
}

TEST_F(RunnerTest, BrokenLinesAreNamed) {
  Run();
  const std::string journal = ReadFile(path());
  const size_t second = journal.find('\n') + 1;
  for (const char* line : {"{}", "[1]", "nonsense", R"({"task": 3})"}) {
    const std::string broken =
        journal.substr(0, second) + line + "\n" + journal.substr(second) + "torn";
    dir_.Write("journal.jsonl", broken);
    const std::string message = ErrorOf([&] { Journal(path(), Print(SmallTasks())); });
    EXPECT_NE(message.find("journal.jsonl:2"), std::string::npos) << message;
    EXPECT_EQ(ReadFile(path()), broken);
  }
}

}  // namespace
}  // namespace pith
