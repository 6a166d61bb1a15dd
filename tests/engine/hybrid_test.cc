// Sessions and scores of models whose states grow: what other tests of the engine say of Mamba
// holds for them. The models are those of the golden values.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "core/file.h"
#include "pith/engine.h"
#include "pith/error.h"
#include "tests/engine/tiny_checkpoint.h"

namespace pith {
namespace {

using Ids = std::vector<int32_t>;

Ids Text(int64_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  Ids ids(count);
  for (int32_t& id : ids) id = static_cast<int32_t>(random() % 61);
  return ids;
}

class Growing : public ::testing::TestWithParam<const char*> {
 protected:
  std::string Saved(const Session& session) {
    session.Save(dir_.path() / "s");
    return ReadFile(dir_.path() / "s");
  }
  Engine engine_ = Engine::Load(
      std::filesystem::path(PITH_SOURCE_DIR) / "tests/golden" / GetParam(), testing::TinyOptions());
  testing::TempDir dir_;
};

TEST_P(Growing, SessionsAreCutSavedAndCopied) {
  EXPECT_GT(engine_.info().state_bytes_per_token, 0);
  const Ids text = Text(150, 1);
  Session whole = engine_.NewSession();
  whole.Append(text);
  Session pieces = engine_.NewSession();
  pieces.Append({text.begin(), text.begin() + 64});
  Session loaded = engine_.LoadSession([&] {
    pieces.Save(dir_.path() / "half");
    return dir_.path() / "half";
  }());
  Session copy = pieces;
  copy.Append(Text(70, 2));
  for (Session* half : {&pieces, &loaded}) {
    half->Append({text.begin() + 64, text.end()});
    EXPECT_EQ(Saved(*half), Saved(whole));
  }
  EXPECT_NE(Saved(copy), Saved(whole));
}

TEST_P(Growing, AReadThatIsCancelledLeavesTheSession) {
  Session session = engine_.NewSession();
  session.Append(Text(100, 3));
  const std::string before = Saved(session);
  std::atomic<bool> cancel = true;
  EXPECT_THROW(session.Append(Text(50, 4), {}, {.cancel = &cancel}), Error);
  EXPECT_EQ(Saved(session), before);
  Session other = engine_.NewSession();
  other.Append(Text(100, 3));
  session.Append(Text(50, 5));
  other.Append(Text(50, 5));
  EXPECT_EQ(Saved(session), Saved(other));
}

TEST_P(Growing, ReducedSessionsHoldLess) {
  Session dense = engine_.NewSession();
  Session reduced = engine_.NewSession();
  dense.Append(Text(200, 6));
  reduced.Append(Text(200, 6), engine_.Compile("truncate@30%"));
  EXPECT_LT(Saved(reduced).size(), Saved(dense).size());
  EXPECT_EQ(reduced.tokens(), 200);
}

// Scores depend on neither what is scored beside them nor on the bound on states.
TEST_P(Growing, ScoresUnderAnyBound) {
  std::vector<ScoreItem> items;
  for (const int64_t length : {1, 64, 65, 130}) {
    for (const int64_t tail : {1, 5, 40}) {
      items.push_back({Text(length, length), Text(tail, 100 + tail)});
    }
  }
  const auto run = [&](const std::vector<ScoreItem>& some, int64_t max_state_bytes) {
    std::vector<double> logprobs;
    for (const ScoreResult& result : engine_.Score(
             some,
             {.reduction = engine_.Compile("utrc:keep=0.9"), .max_state_bytes = max_state_bytes})) {
      logprobs.push_back(result.logprob);
    }
    return logprobs;
  };
  const std::vector<double> expected = run(items, int64_t{1} << 30);
  EXPECT_EQ(run(items, 1), expected);
  EXPECT_EQ(run(items, 3 * engine_.info().state_bytes_per_token * 64), expected);
  for (size_t i = 0; i < items.size(); ++i) EXPECT_EQ(run({items[i]}, 1)[0], expected[i]) << i;
}

INSTANTIATE_TEST_SUITE_P(Models, Growing,
                         ::testing::Values("hf-llama", "hf-granitemoehybrid", "hf-falcon-h1",
                                           "hf-zamba2"),
                         [](const auto& info) {
                           std::string name = info.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

}  // namespace
}  // namespace pith
