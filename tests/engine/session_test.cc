// Sessions: a text read in pieces, saved, loaded, copied or interrupted is the same text. States
// are compared through their files, which hold every bit of them and the pending token.

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <utility>
#include <vector>

#include "core/file.h"
#include "pith/engine.h"
#include "tests/engine/tiny_checkpoint.h"

namespace pith {
namespace {

using testing::RandomIds;
using Ids = std::vector<int32_t>;

GenerateOptions Sampled(int64_t max_tokens) {
  GenerateOptions options;
  options.max_tokens = max_tokens;
  options.sampling.seed = 5;
  options.stop_at_end_of_text = false;
  return options;
}

class SessionTest : public testing::BothKinds {
 protected:
  std::string Saved(const Session& session) {
    session.Save(dir_.path() / "s");
    return ReadFile(dir_.path() / "s");
  }
  // The session's state, and what it goes on to say.
  std::pair<std::string, Ids> Future(Session session) {
    const std::string state = Saved(session);
    return {state, session.Generate({}, Sampled(8)).ids};
  }
  testing::TempDir dir_;
};

// ssd_chunk is 16: cuts at its multiples are bit-identical.
TEST_P(SessionTest, AppendInPieces) {
  const Ids text = RandomIds(150, 1);
  Session whole = engine_.NewSession();
  EXPECT_EQ(whole.Append(text).tokens, 150);
  for (const std::vector<size_t>& cuts : {std::vector<size_t>{16}, {64, 128}, {16, 32, 144}}) {
    Session session = engine_.NewSession();
    size_t begin = 0;
    for (const size_t cut : cuts) {
      session.Append(std::span(text).subspan(begin, cut - begin));
      EXPECT_EQ(session.tokens(), static_cast<int64_t>(cut));
      begin = cut;
    }
    session.Append(std::span(text).subspan(begin));
    EXPECT_EQ(session.tokens(), 150);
    EXPECT_EQ(Future(session), Future(whole));
  }
}

// Each piece is a context of its own, and each is reduced as planned.
TEST_P(SessionTest, ReportsTheReductionOfEachPiece) {
  const Reduction reduction = engine_.Compile("utrc@30%");
  Session session = engine_.NewSession();
  for (const int64_t length : {100, 50}) {
    const PrefillReport report = session.Append(RandomIds(length, 2), reduction);
    const PlanReport plan = engine_.Plan(length, reduction);
    EXPECT_EQ(report.tokens, length);
    EXPECT_EQ(report.rows_left, plan.sites.back().out);
    EXPECT_EQ(report.realised, plan.realised);
  }
  EXPECT_EQ(session.tokens(), 150);
}

TEST_P(SessionTest, GenerateReadsItsPromptAsAppendDoes) {
  const Ids prompt = RandomIds(40, 3);
  const Reduction reduction = engine_.Compile("utrc@20%");
  GenerateOptions options = Sampled(12);
  options.reduction = reduction;
  const Ids expected = engine_.Generate(prompt, options).ids;
  Session session = engine_.NewSession();
  session.Append(prompt, reduction);
  EXPECT_EQ(session.Generate({}, Sampled(12)).ids, expected);
  EXPECT_EQ(session.tokens(), 40 + 11);  // the last token is sampled, not read
}

TEST_P(SessionTest, SaveAndLoadContinueIdentically) {
  Session session = engine_.NewSession();
  session.Generate(RandomIds(33, 4), Sampled(5));
  session.Save(dir_.path() / "state");
  Session loaded = engine_.LoadSession(dir_.path() / "state");
  EXPECT_EQ(loaded.tokens(), session.tokens());
  EXPECT_EQ(Saved(loaded), Saved(session));
  // The token that was sampled last is in the file, so text that follows comes after it.
  const Ids more = RandomIds(7, 5);
  EXPECT_EQ(loaded.Generate(more, Sampled(6)).ids, session.Generate(more, Sampled(6)).ids);
  EXPECT_EQ(loaded.tokens(), 33 + 5 + 7 + 5);
  EXPECT_EQ(Future(loaded), Future(session));
}

TEST_P(SessionTest, ThePendingTokenIsPartOfTheText) {
  Session session = engine_.NewSession();
  const Ids prompt = RandomIds(31, 6);
  const GenerateResult result = session.Generate(prompt, Sampled(1));
  EXPECT_EQ(session.Append(RandomIds(16, 7)).tokens, 17);
  Ids text = prompt;
  text.push_back(result.ids[0]);
  const Ids more = RandomIds(16, 7);
  text.insert(text.end(), more.begin(), more.end());
  Session pieces = engine_.NewSession();
  pieces.Append(std::span(text).first(31));
  pieces.Append(std::span(text).subspan(31));
  EXPECT_EQ(Future(session), Future(pieces));
}

TEST_P(SessionTest, CopiesFork) {
  Session session = engine_.NewSession();
  session.Generate(RandomIds(20, 8), Sampled(3));
  const auto before = Future(session);
  Session copy = session;
  copy.Append(RandomIds(9, 9));
  EXPECT_EQ(Future(session), before);
  EXPECT_NE(Saved(copy), Saved(session));
  copy = session;
  EXPECT_EQ(Future(copy), before);
}

TEST_P(SessionTest, OutlivesTheEngineObject) {
  Session session = engine_.NewSession();
  session.Append(RandomIds(20, 10));
  const auto expected = Future(session);
  const Engine moved = std::move(engine_);
  {
    const Engine gone = testing::LoadTiny({.mamba2 = GetParam()});
    session = gone.NewSession();
  }
  session.Append(RandomIds(20, 10));
  EXPECT_EQ(Future(session), expected);
}

TEST_P(SessionTest, AFailedReadLeavesItUnchanged) {
  Session session = engine_.NewSession();
  session.Append(RandomIds(20, 11));
  session.Generate({}, Sampled(2));
  const auto before = Future(session);
  std::atomic<bool> cancel = true;
  const auto code = [&](const Ids& ids, const Reduction& reduction, const RunControl& control) {
    try {
      session.Append(ids, reduction, control);
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::kInternal;
  };
  EXPECT_EQ(code(RandomIds(100, 1), {}, {.cancel = &cancel}), ErrorCode::kCancelled);
  EXPECT_EQ(Future(session), before);
  // Half-way through: the first chunk of rows is in the state's copy already.
  cancel = false;
  const RunControl half{.cancel = &cancel,
                        .progress = [&](double done) { cancel = cancel || done > 0.5; }};
  EXPECT_EQ(code(RandomIds(200, 1), {}, half), ErrorCode::kCancelled);
  EXPECT_EQ(Future(session), before);
  EXPECT_EQ(code({1, 2, 264}, {}, {}), ErrorCode::kInvalidArgument);
  const Reduction others = testing::LoadTiny({.mamba2 = !GetParam()}).Compile("utrc@10%");
  EXPECT_EQ(code({1}, others, {}), ErrorCode::kInvalidArgument) << "another model's";
  EXPECT_EQ(Future(session), before);
}

// Raised between tokens, the flag ends the output as a smaller max_tokens would.
TEST_P(SessionTest, CancelledOutputKeepsWhatWasSaid) {
  std::atomic<bool> cancel = false;
  int pieces = 0;
  GenerateOptions options = Sampled(50);
  options.control.cancel = &cancel;
  options.on_text = [&](std::string_view) { return cancel = ++pieces == 3, true; };
  Session session = engine_.NewSession();
  const Ids prompt = RandomIds(20, 12);
  const GenerateResult result = session.Generate(prompt, options);
  EXPECT_EQ(result.finish, "cancelled");
  ASSERT_LT(result.ids.size(), 50);
  Session shorter = engine_.NewSession();
  EXPECT_EQ(shorter.Generate(prompt, Sampled(std::ssize(result.ids))).ids, result.ids);
  EXPECT_EQ(Future(session), Future(shorter));
}

TEST_P(SessionTest, NeedsSomeText) {
  Session session = engine_.NewSession();
  EXPECT_THROW(session.Generate({}, Sampled(1)), Error);
  EXPECT_THROW(session.Append({}), Error);
  EXPECT_EQ(session.tokens(), 0);
}

TEST_P(SessionTest, RefusesAStateOfAnotherModel) {
  const Engine other = testing::LoadTiny({.mamba2 = !GetParam()});
  Session session = other.NewSession();
  session.Append(RandomIds(5, 1));
  session.Save(dir_.path() / "other");
  EXPECT_THROW(engine_.LoadSession(dir_.path() / "other"), Error);
  EXPECT_THROW(engine_.LoadSession(dir_.path() / "absent"), Error);
}

INSTANTIATE_TEST_SUITE_P(Kinds, SessionTest, ::testing::Bool(), testing::KindName);

}  // namespace
}  // namespace pith
