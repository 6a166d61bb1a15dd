// Several ranks on one evaluation, simulated in one process with a journal each: whatever their
// number, whichever of them is lost, and whoever goes on, the rows are those of one process to the
// last bit, and nothing that a journal holds is scored again. Rows are compared as JSON text.

#include "eval/ranks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/file.h"
#include "eval/runner.h"
#include "tests/engine/tiny_checkpoint.h"

namespace pith {
namespace {

using testing::ErrorOf;

const std::filesystem::path kSource = PITH_SOURCE_DIR;

const Engine& Model() {
  static const Engine engine = Engine::Load(kSource / "models/pith-13m-mamba1",
                                            {.device = testing::DeviceName(), .threads = 1});
  return engine;
}

const std::vector<EvalTask>& Tasks() {
  static const std::vector<EvalTask> tasks =
      LoadTasks(Model(), {"lambada_openai", "winogrande"},
                {.data = kSource / "data", .limit = 3, .bos = true});
  return tasks;
}

constexpr int64_t kItems = 12;  // two tasks, two methods

std::string Figures(const std::vector<EvalRow>& rows) {
  OrderedJson json = EvalRowsToJson(rows);
  for (OrderedJson& row : json) {
    for (const char* field : {"context_seconds", "tokens_per_second", "peak_memory_bytes"}) {
      row.erase(field);
    }
  }
  return json.dump();
}

int64_t Entries(const std::filesystem::path& path) {
  const std::string text = ReadFile(path);
  return std::ranges::count(text, '\n') - 1;
}

class RanksTest : public ::testing::TestWithParam<ScoringMode> {
 protected:
  EvalOptions Options() const { return {.methods = {"none", "evit@20%"}, .mode = GetParam()}; }
  std::filesystem::path dir() const { return dir_.path(); }

  // All ranks read, then each scores its share unless it is `lost`.
  void Score(int size, int lost = -1) {
    std::vector<std::unique_ptr<Journal>> journals;
    for (int rank = 0; rank < size; ++rank) {
      journals.push_back(std::make_unique<Journal>(JournalPath(dir(), rank), print_));
    }
    for (const auto& journal : journals) ReadAllJournals(dir(), *journal);
    for (int rank = 0; rank < size; ++rank) {
      if (rank == lost) continue;
      ScoreMissing(Model(), Tasks(), Options(), {rank, size}, *journals[rank]);
    }
  }

  // Rows from what is there; fails where something is missing.
  std::string Rows() {
    Journal journal(JournalPath(dir(), 0), print_);
    ReadAllJournals(dir(), journal);
    EvalOptions options = Options();
    options.control.progress = [](double) { ADD_FAILURE() << "scored twice, or too late"; };
    return Figures(Evaluate(Model(), Tasks(), options, journal));
  }

  std::string Alone() {
    testing::TempDir other;
    Journal journal(other.path() / "journal.jsonl", print_);
    return Figures(Evaluate(Model(), Tasks(), Options(), journal));
  }

  // Lines of all journals: an item that two ranks scored would count twice.
  int64_t Total() const {
    int64_t total = Entries(JournalPath(dir(), 0));
    for (const auto& path : OtherJournals(dir())) total += Entries(path);
    return total;
  }

  testing::TempDir dir_;
  OrderedJson print_ = {{"a", 1}};
};

TEST_P(RanksTest, AnyNumberOfRanksGivesTheSameRows) {
  const std::string alone = Alone();
  for (const int size : {2, 5}) {
    Score(size);
    EXPECT_EQ(Rows(), alone) << size << " ranks";
    EXPECT_EQ(Total(), kItems) << size << " ranks";
    {
      const Journal lock(JournalPath(dir(), 0), print_, true);
      RemoveOtherJournals(dir());
    }
    EXPECT_TRUE(OtherJournals(dir()).empty());
  }
}

TEST_P(RanksTest, ALostRanksItemsAreRedoneByAnyNumber) {
  const std::string alone = Alone();
  Score(3, 1);
  EXPECT_LT(Total(), kItems);
  Score(2);
  EXPECT_EQ(Rows(), alone);
  EXPECT_EQ(Total(), kItems);
  Score(4);  // nothing is left
  EXPECT_EQ(Total(), kItems);
}

TEST_P(RanksTest, OneProcessGoesOnFromSeveral) {
  const std::string alone = Alone();
  Score(3, 0);
  Score(1);
  EXPECT_EQ(Rows(), alone);
  EXPECT_EQ(Total(), kItems);
}

INSTANTIATE_TEST_SUITE_P(Modes, RanksTest,
                         ::testing::Values(ScoringMode::kContext, ScoringMode::kSurvivors,
                                           ScoringMode::kPublishedTail));

// Shares of equal size, to one item.
TEST(Ranks, SharesAreEven) {
  testing::TempDir dir;
  for (int rank = 0; rank < 5; ++rank) {
    Journal journal(JournalPath(dir.path(), rank), {{"a", 1}});
    ScoreMissing(Model(), Tasks(), {.methods = {"none", "evit@20%"}}, {rank, 5}, journal);
    EXPECT_EQ(journal.size(), rank < kItems % 5 ? 3u : 2u);
    EXPECT_EQ(Entries(journal.path()), journal.size());
  }
  Journal journal(JournalPath(dir.path(), 5), {{"a", 1}});
  EXPECT_THROW(ScoreMissing(Model(), Tasks(), {.methods = {"none"}}, {5, 5}, journal), Error);
}

TEST(Ranks, OtherJournals) {
  testing::TempDir dir;
  for (const char* name : {"journal.jsonl", "journal.1.jsonl", "journal.12.jsonl",
                           "journal.0.jsonl", "journal.01.jsonl", "journal.x.jsonl",
                           "journal..jsonl", "journal.1.json", "my.journal.1.jsonl"}) {
    dir.Write(name, "");
  }
  const std::vector<std::filesystem::path> expected = {JournalPath(dir.path(), 1),
                                                       JournalPath(dir.path(), 12)};
  EXPECT_EQ(OtherJournals(dir.path()), expected);
  EXPECT_THROW(OtherJournals(dir.path() / "none"), Error);
}

// Another rank may be writing: its torn line stays and is not read; a stranger's file is refused.
TEST(Ranks, JournalsOfOthersStayAsTheyAre) {
  testing::TempDir dir;
  const JournalEntry entry{.task = "t", .method = "m", .item = "1"};
  const auto path = JournalPath(dir.path(), 1);
  Journal(path, {{"a", 1}}).Append({&entry, 1});
  const std::string torn = ReadFile(path) + R"({"task":"t","meth)";
  dir.Write("journal.1.jsonl", torn);
  Journal own(JournalPath(dir.path(), 0), {{"a", 1}});
  ReadAllJournals(dir.path(), own);
  EXPECT_NE(own.Find("t", "m", "1"), nullptr);
  EXPECT_EQ(own.size(), 1u);
  EXPECT_EQ(ReadFile(path), torn);
  dir.Write("journal.2.jsonl", R"({"form)");  // just made
  EXPECT_NO_THROW(ReadAllJournals(dir.path(), own));
  dir.Write("journal.2.jsonl", "diary");
  EXPECT_NE(ErrorOf([&] { ReadAllJournals(dir.path(), own); }).find("journal.2.jsonl"),
            std::string::npos);
  Journal other(dir.path() / "journal.3.jsonl", {{"a", 2}});
  EXPECT_NE(ErrorOf([&] { other.ReadOther(path); }).find("another run: a"), std::string::npos);
}

}  // namespace
}  // namespace pith
