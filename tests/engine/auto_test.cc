// auto@N% through the engine: every context gets the reduction of its own length, whatever it is
// scored beside; calls with one context report what it stood for.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/error.h"
#include "pith/engine.h"
#include "tests/engine/tiny_checkpoint.h"

namespace pith {
namespace {

using testing::ErrorOf;
using testing::RandomIds;

class Auto : public testing::BothKinds {
 protected:
  const Reduction auto_ = engine_.Compile("auto@10%");
};

std::vector<ScoreItem> Items() {
  std::vector<ScoreItem> items;
  for (const int64_t length : {600, 50, 130, 600, 1100}) {
    items.push_back({RandomIds(length, length), RandomIds(4, length)});
  }
  items.push_back({RandomIds(50, 50), RandomIds(9, 7)});  // a context that was there
  items.push_back({{}, RandomIds(5, 1)});
  return items;
}

TEST_P(Auto, EachContextIsReducedByItsOwnLength) {
  const std::vector<ScoreItem> items = Items();
  ScoreStats stats;
  const auto together = engine_.Score(items, {.reduction = auto_}, &stats);
  ASSERT_EQ(together.size(), items.size());
  EXPECT_EQ(stats.context_tokens, 600 + 50 + 130 + 1100);
  EXPECT_GT(stats.context_seconds, 0);
  for (size_t i = 0; i < items.size(); ++i) {
    SCOPED_TRACE(i);
    const auto tokens = std::ssize(items[i].context);
    const std::string resolved = tokens == 0 ? "none" : engine_.Plan(tokens, auto_).reduce;
    EXPECT_NE(resolved.substr(0, 4), "auto");
    for (const Reduction& reduction : {auto_, engine_.Compile(resolved)}) {
      const ScoreResult alone = engine_.Score({&items[i], 1}, {.reduction = reduction}).at(0);
      EXPECT_EQ(together[i].logprob, alone.logprob);
      EXPECT_EQ(together[i].realised, alone.realised);
      EXPECT_EQ(together[i].context_rows, alone.context_rows);
    }
    if (tokens > 0) {
      EXPECT_GE(together[i].realised, 0.1 - 1e-9);
    }
  }
}

TEST_P(Auto, ProgressRunsOnceFromNothingToAll) {
  double last = 0;
  ScoreOptions options{.reduction = auto_};
  options.control.progress = [&](double share) {
    EXPECT_GE(share, last);
    last = share;
  };
  engine_.Score(Items(), options);
  EXPECT_EQ(last, 1);
}

TEST_P(Auto, CallsWithOneContextSayWhatItStoodFor) {
  const std::vector<int32_t> ids = RandomIds(600, 1);
  const std::string resolved = engine_.Plan(600, auto_).reduce;
  EXPECT_EQ(engine_.Inspect(ids, auto_).plan.reduce, resolved);
  EXPECT_EQ(engine_.NewSession().Append(ids, auto_).realised,
            engine_.NewSession().Append(ids, engine_.Compile(resolved)).realised);
  EXPECT_EQ(engine_.Compile("auto@010").text(), "auto@10%");
  EXPECT_EQ(engine_.Compile("utrc@010").text(), "utrc@10%");
}

TEST_P(Auto, Refusals) {
  const auto error = [&](const char* text, const CompileOptions& options = {}) {
    return ErrorOf([&] { engine_.Compile(text, options); });
  };
  EXPECT_NE(error("auto").find("auto@30%"), std::string::npos);
  EXPECT_NE(error("auto@99%").find("at most"), std::string::npos);
  EXPECT_NE(error("auto@10%", {.full_flops = true}).find("flops=blocks"), std::string::npos);
  const std::vector<ScoreItem> items = Items();
  EXPECT_NE(ErrorOf([&] {
              engine_.Score(items, {.reduction = auto_, .mode = ScoringMode::kSurvivors});
            }).find("expected context"),
            std::string::npos);
  std::vector<ScoreItem> empty = items;
  empty[3].continuation.clear();
  EXPECT_NE(ErrorOf([&] { engine_.Score(empty, {.reduction = auto_}); }).find("item 3"),
            std::string::npos)
      << "items keep their numbers";
}

INSTANTIATE_TEST_SUITE_P(Kinds, Auto, ::testing::Bool(), testing::KindName);

}  // namespace
}  // namespace pith
