// An evaluation over several devices gives one device's rows to the last bit, whoever scored what:
// here several engines on the device under test stand for them. An error or an interruption on any
// of them ends all, and what they had scored is not scored again.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "core/error.h"
#include "core/file.h"
#include "eval/fingerprint.h"
#include "eval/runner.h"
#include "tests/engine/tiny_checkpoint.h"

namespace pith {
namespace {

using testing::ErrorOf;

const std::filesystem::path kSource = PITH_SOURCE_DIR;
constexpr size_t kItems = 2 * 4 * 3;  // tasks, methods, items

Engine LoadModel(const std::string& name) {
  return Engine::Load(kSource / "models" / name, {.device = testing::DeviceName(), .threads = 1});
}

// The first is the only device of a run on one.
const std::vector<Engine>& Devices() {
  static const std::vector<Engine> devices = [] {
    std::vector<Engine> engines;
    for (int i = 0; i < 3; ++i) engines.push_back(LoadModel("pith-13m-mamba1"));
    return engines;
  }();
  return devices;
}

const std::vector<EvalTask>& Tasks() {
  static const std::vector<EvalTask> tasks =
      LoadTasks(Devices()[0], {"lambada_openai", "piqa"},
                {.data = kSource / "data", .limit = 3, .bos = true});
  return tasks;
}

std::string Figures(const std::vector<EvalRow>& rows) {
  OrderedJson json = EvalRowsToJson(rows);
  for (OrderedJson& row : json) {
    for (const char* field : {"context_seconds", "tokens_per_second", "peak_memory_bytes"}) {
      row.erase(field);
    }
  }
  return json.dump();
}

class DevicesTest : public ::testing::TestWithParam<ScoringMode> {
 protected:
  std::vector<EvalRow> Run(size_t devices, const RunControl& control = {}) {
    Journal journal(path(), {{"a", 1}});
    return Evaluate(Devices()[0], Tasks(), Options(devices, control), journal);
  }
  EvalOptions Options(size_t devices, const RunControl& control = {}) const {
    return {.methods = {"none", "utrc@10%", "utrc@20%", "evit@20%"},
            .mode = GetParam(),
            .control = control,
            .others = std::span(Devices()).subspan(1, devices - 1)};
  }
  std::string Alone() {
    const std::string figures = Figures(Run(1));
    std::filesystem::remove(path());
    return figures;
  }
  size_t Scored() const { return Journal(path(), {{"a", 1}}).size(); }
  std::filesystem::path path() const { return dir_.path() / "journal.jsonl"; }

  testing::TempDir dir_;
};

TEST_P(DevicesTest, AnyNumberGivesTheSameRowsInTheSameOrder) {
  const std::string alone = Alone();
  for (const size_t devices : {2, 3}) {
    EXPECT_EQ(Figures(Run(devices)), alone) << devices << " devices";
    EXPECT_EQ(Scored(), kItems);
    std::filesystem::remove(path());
  }
}

TEST_P(DevicesTest, MoreThanOneScores) {
  std::set<std::thread::id> threads;  // calls come one at a time
  Run(3, {.progress = [&](double share) {
        EXPECT_GE(share, 0);
        EXPECT_LE(share, 1 + 1e-9);
        threads.insert(std::this_thread::get_id());
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
      }});
  EXPECT_GT(threads.size(), 1u);
}

TEST_P(DevicesTest, AnotherNumberGoesOnFromAJournal) {
  const std::string alone = Alone();
  Run(2);
  const std::string journal = ReadFile(path());
  // After the fingerprint and 0, 7, 14, 21 items, in whatever order they were scored.
  size_t cut = journal.find('\n') + 1;
  for (size_t items = 0; items < kItems; items += 7) {
    dir_.Write("journal.jsonl", journal.substr(0, cut));
    EXPECT_EQ(Figures(Run(items % 2 == 0 ? 3 : 1)), alone) << items << " items were there";
    EXPECT_EQ(Scored(), kItems);
    for (int i = 0; i < 7; ++i) cut = journal.find('\n', cut) + 1;
  }
}

// Whichever thread it comes from: the calling one scores for the first device.
TEST_P(DevicesTest, AnErrorOfOneEndsAll) {
  const std::string alone = Alone();
  struct Broken {};
  const auto caller = std::this_thread::get_id();
  for (const bool first : {true, false}) {
    const RunControl control{.progress = [&](double) {
      if ((std::this_thread::get_id() == caller) == first) throw Broken();
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }};
    EXPECT_THROW(Run(2, control), Broken);
    EXPECT_LT(Scored(), kItems);
    EXPECT_EQ(Figures(Run(2)), alone);
    std::filesystem::remove(path());
  }
}

TEST_P(DevicesTest, CancelledTheyKeepWhatIsDone) {
  const std::string alone = Alone();
  std::atomic<bool> cancel = false;
  const RunControl control{.cancel = &cancel, .progress = [&](double) { cancel = true; }};
  try {
    Run(2, control);
    FAIL() << "done before it could be cancelled";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCancelled);
  }
  EXPECT_LT(Scored(), kItems);
  EXPECT_EQ(Figures(Run(3)), alone);
}

INSTANTIATE_TEST_SUITE_P(Modes, DevicesTest,
                         ::testing::Values(ScoringMode::kContext, ScoringMode::kPublishedTail));

TEST(Devices, OfAnotherModelAreRefused) {
  std::vector<Engine> others;
  others.push_back(LoadModel("pith-27m-mamba2"));
  testing::TempDir dir;
  Journal journal(dir.path() / "journal.jsonl", {{"a", 1}});
  const std::string message = ErrorOf(
      [&] { Evaluate(Devices()[0], Tasks(), {.methods = {"none"}, .others = others}, journal); });
  EXPECT_NE(message.find("got different models"), std::string::npos) << message;
  EXPECT_EQ(journal.size(), 0u);
}

// A journal says on what kind of device it was made: which GPU, or how many, changes no score.
TEST(Devices, AJournalKnowsTheKindAlone) {
  const auto print = [](const std::string& device) {
    return Fingerprint(Devices()[0], {.device = device}, kSource / "models/pith-13m-mamba1", {}, {},
                       ScoringMode::kContext)["device"];
  };
  EXPECT_EQ(print("cuda:all"), "cuda");
  EXPECT_EQ(print("cuda:1"), "cuda");
  EXPECT_EQ(print("cpu"), "cpu");
}

}  // namespace
}  // namespace pith
