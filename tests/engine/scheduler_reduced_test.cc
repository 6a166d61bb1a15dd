// Reduced contexts in the scheduler: one that was read before is not read again, with the bits of
// reading it; pieces of a context are contexts that go on from each other; what is not the same
// reduction of the same tokens shares nothing.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <future>
#include <string>
#include <utility>
#include <vector>

#include "core/file.h"
#include "pith/policy.h"
#include "pith/scheduler.h"
#include "tests/engine/tiny_checkpoint.h"

namespace pith {
namespace {

using testing::ErrorOf;
using testing::RandomIds;

constexpr int64_t kBlock = 16;  // the tiny engine's SSD chunk
constexpr int64_t kRoom = 64 << 20;

bool SameLogprobs(const std::vector<TokenLogprob>& a, const std::vector<TokenLogprob>& b) {
  return std::ranges::equal(a, b, [](const TokenLogprob& x, const TokenLogprob& y) {
    return x.id == y.id && x.logprob == y.logprob && x.top_id == y.top_id &&
           x.top_logprob == y.top_logprob;
  });
}

bool OnReference() { return testing::DeviceUnderTest() == Device::kReference; }

class SchedulingReduced : public testing::BothKinds {
 protected:
  // A context drawn by one seed, behind it a tail drawn by another.
  TextRequest Request(const Reduction& reduction, int64_t context, uint64_t of_context,
                      int64_t tail, uint64_t of_tail) const {
    TextRequest request{.prompt = RandomIds(context, of_context), .whole_tail = tail};
    const std::vector<int32_t> rest = RandomIds(tail, of_tail);
    request.prompt.insert(request.prompt.end(), rest.begin(), rest.end());
    request.options.max_tokens = 6;
    request.options.stop_at_end_of_text = false;
    request.options.logprobs = 0;
    request.options.sampling.seed = of_tail;
    request.options.reduction = reduction;
    return request;
  }
  TextRequest Request(const char* reduction, int64_t context, uint64_t of_context, int64_t tail,
                      uint64_t of_tail) const {
    return Request(engine_.Compile(reduction), context, of_context, tail, of_tail);
  }

  static TextResult Run(Scheduler& scheduler, TextRequest request) {
    std::promise<TextResult> promise;
    request.on_done = [&](TextResult result) { promise.set_value(std::move(result)); };
    scheduler.Submit({std::move(request)});
    return promise.get_future().get();
  }

  // The tokens that were not read, of a text that must get what it gets where nothing is kept.
  int64_t Reused(Scheduler& scheduler, const TextRequest& request) const {
    const TextResult got = Run(scheduler, request);
    EXPECT_FALSE(got.error) << got.error->what();
    Scheduler fresh(engine_, {.max_running = 1, .rows_per_round = RowsPerRound()});
    const TextResult alone = Run(fresh, request);
    EXPECT_EQ(alone.generated.prefill.reused, 0);
    EXPECT_EQ(got.generated.ids, alone.generated.ids);
    EXPECT_TRUE(SameLogprobs(got.generated.logprobs, alone.generated.logprobs));
    EXPECT_TRUE(SameLogprobs(got.prompt_logprobs, alone.prompt_logprobs));
    EXPECT_EQ(got.generated.prefill.rows_left, alone.generated.prefill.rows_left);
    EXPECT_EQ(got.generated.prefill.realised, alone.generated.prefill.realised);
    return got.generated.prefill.reused;
  }

  // The reference rounds where a pass rests (tiny_checkpoint.h), so there none does.
  static int64_t RowsPerRound() { return OnReference() ? 1 << 20 : 48; }
};

TEST_P(SchedulingReduced, AContextIsReadOnce) {
  for (const char* reduce :
       {"utrc@20%", "utrc@20%:block=32", "truncate@30%", "stride@20%", "random@20%:seed=3",
        "span-drop@20%:span=8,first=8,protect=8", "skim@20%", "auto@10%"}) {
    SCOPED_TRACE(reduce);
    Scheduler scheduler(engine_, {.rows_per_round = RowsPerRound(), .state_memory = kRoom});
    EXPECT_EQ(Reused(scheduler, Request(reduce, 150, 1, 10, 2)), 0);
    EXPECT_EQ(Reused(scheduler, Request(reduce, 150, 1, 10, 3)), 150);
    EXPECT_EQ(Reused(scheduler, Request(reduce, 150, 1, 1, 4)), 150);
    EXPECT_EQ(scheduler.counts().prompt_tokens_reused, 300);
    EXPECT_EQ(Reused(scheduler, Request(reduce, 150, 5, 10, 2)), 0);  // other tokens
    EXPECT_EQ(Reused(scheduler, Request(reduce, 149, 1, 11, 3)), 0);  // a shorter context
    EXPECT_EQ(Reused(scheduler, Request("none", 150, 1, 10, 3)), 0);
    // All of it is context: the logits are those of its last row, which no state holds.
    EXPECT_EQ(Reused(scheduler, Request(reduce, 150, 1, 0, 3)), 0);
    TextRequest scored = Request(reduce, 150, 1, 10, 3);  // needs the context's last row, too
    scored.score_prompt = true;
    EXPECT_EQ(Reused(scheduler, scored), 0);
  }
}

// Behind a reduced context tokens are read whole, and shared by blocks as those of any prompt.
TEST_P(SchedulingReduced, ATailThatGrowsIsNotReadAgain) {
  if (OnReference()) GTEST_SKIP() << "the reference keeps no state of what is read whole";
  Scheduler scheduler(engine_, {.rows_per_round = RowsPerRound(), .state_memory = kRoom});
  TextRequest request = Request("utrc@20%", 100, 1, 5, 2);
  EXPECT_EQ(Reused(scheduler, request), 0);
  for (int turn = 0; turn < 4; ++turn) {
    const int64_t before = request.whole_tail;
    const std::vector<int32_t> fresh = RandomIds(30, 50 + turn);
    request.prompt.insert(request.prompt.end(), fresh.begin(), fresh.end());
    request.whole_tail += 30;
    EXPECT_EQ(Reused(scheduler, request), 100 + (before - 1) / kBlock * kBlock);
  }
}

TEST_P(SchedulingReduced, OnlyTheSameReductionShares) {
  Scheduler scheduler(engine_, {.state_memory = kRoom});
  const auto reused = [&](const Reduction& reduction) {
    return Reused(scheduler, Request(reduction, 90, 1, 8, 2));
  };
  EXPECT_EQ(reused(engine_.Compile("utrc@20%")), 0);
  EXPECT_EQ(reused(engine_.Compile("utrc@20%")), 90);  // compiled twice, but the same
  EXPECT_EQ(reused(engine_.Compile("utrc@21%")), 0);
  EXPECT_EQ(reused(engine_.Compile("utrc@20%:seed=1")), 0);
  EXPECT_EQ(reused(engine_.Compile("utrc@20%", {.sites = {3, 5}})), 0);
  // The text does not say what is counted.
  EXPECT_EQ(reused(engine_.Compile("utrc@20%", {.full_flops = true})), 0);
  EXPECT_EQ(reused(engine_.Compile("utrc@20%", {.full_flops = true})), 90);
  // Nor what a function does.
  const auto first = [](int32_t from) {
    return [from](const PolicySite&, int64_t remove) {
      PolicyPlan plan;
      for (int64_t i = 0; i < remove; ++i) plan.removed.push_back(from + static_cast<int32_t>(i));
      return plan;
    };
  };
  const Reduction own = engine_.Compile(OwnPolicy{.name = "own", .plan = first(0)}, "@20%");
  EXPECT_EQ(reused(own), 0);
  EXPECT_EQ(reused(own), 90);
  EXPECT_EQ(reused(engine_.Compile(OwnPolicy{.name = "own", .plan = first(1)}, "@20%")), 0);
  // Nor what a file held.
  const testing::TempDir dir;
  dir.Write("counts.json", R"({"counts": [1, 2, 3]})");
  const std::string table =
      "utrc@20%:importance=rarity,table=" + (dir.path() / "counts.json").string();
  const Reduction before = engine_.Compile(table);
  EXPECT_EQ(reused(before), 0);
  EXPECT_EQ(reused(before), 90);
  dir.Write("counts.json", R"({"counts": [3, 2, 1]})");
  EXPECT_EQ(reused(engine_.Compile(table)), 0);
}

// Each piece is what Session::Append reads of it.
TEST_P(SchedulingReduced, PiecesAreContexts) {
  const testing::TempDir dir;
  const std::filesystem::path by_hand = dir.path() / "by_hand", own = dir.path() / "own";
  for (const char* reduce : {"utrc@20%", "skim@20%", "auto@10%"}) {
    SCOPED_TRACE(reduce);
    TextRequest request = Request(reduce, 170, 1, 10, 2);
    request.piece = 64;
    request.save_state = own;
    Session session = engine_.NewSession();
    const std::span<const int32_t> prompt = request.prompt;
    double saved = 0;
    int64_t rows = 0;
    for (const auto& [from, tokens] : {std::pair(0, 64), {64, 64}, {128, 42}}) {
      const PrefillReport report =
          session.Append(prompt.subspan(from, tokens), request.options.reduction);
      saved += report.realised * tokens;
      rows += report.rows_left;
    }
    GenerateOptions options = request.options;
    options.reduction = {};
    const GenerateResult expected = session.Generate(prompt.subspan(170), options);
    session.Save(by_hand);
    Scheduler scheduler(engine_, {.rows_per_round = RowsPerRound(), .state_memory = kRoom});
    const TextResult got = Run(scheduler, request);
    EXPECT_EQ(got.generated.ids, expected.ids);
    EXPECT_TRUE(SameLogprobs(got.generated.logprobs, expected.logprobs));
    EXPECT_EQ(ReadFile(own), ReadFile(by_hand));
    EXPECT_EQ(got.generated.prefill.rows_left, rows + 10);
    EXPECT_DOUBLE_EQ(got.generated.prefill.realised, saved / 170);
    EXPECT_GT(got.generated.prefill.realised, 0);
    request.save_state.clear();
    // Scores of the tail are those of the same rows, of which only the last piece's is scored.
    request.score_prompt = true;
    EXPECT_EQ(Reused(scheduler, request), 0);
    EXPECT_EQ(Run(scheduler, request).prompt_logprobs.size(), 10u);
  }
}

// Turns of a chat that protect their last tokens: each context is longer than the one before, and
// the pieces that are whole are not read again.
TEST_P(SchedulingReduced, AContextThatGrowsByPieces) {
  Scheduler scheduler(engine_, {.rows_per_round = RowsPerRound(), .state_memory = kRoom});
  std::vector<int32_t> prompt = RandomIds(100, 1);
  int64_t whole = 0;
  for (int turn = 0; turn < 6; ++turn) {
    TextRequest request = Request("utrc@20%", 1, 1, 0, turn);
    request.prompt = prompt;
    request.whole_tail = 20;
    request.piece = 64;
    EXPECT_EQ(Reused(scheduler, request), whole);
    // Another tail behind the same context: its shorter last piece is kept as well.
    request.prompt[prompt.size() - 20] ^= 1;
    EXPECT_EQ(Reused(scheduler, request), std::ssize(prompt) - 20);
    whole = (std::ssize(prompt) - 20) / 64 * 64;
    const std::vector<int32_t> fresh = RandomIds(41, 70 + turn);
    prompt.insert(prompt.end(), fresh.begin(), fresh.end());
  }
  // Without a tail the last piece is read for its logits.
  TextRequest request = Request("utrc@20%", 256, 9, 0, 1);
  request.piece = 64;
  EXPECT_EQ(Reused(scheduler, request), 0);
  EXPECT_EQ(Reused(scheduler, request), 192);
  // Where contexts part, a state is left on the second time, from which a third one goes on.
  for (const int64_t expected : {0, 64}) {
    std::ranges::copy(RandomIds(100, 40 + expected), request.prompt.begin() + 70);
    EXPECT_EQ(Reused(scheduler, request), expected);
  }
}

TEST_P(SchedulingReduced, RoomIsBounded) {
  const int64_t state = engine_.info().state_bytes;
  Scheduler scheduler(engine_, {.state_memory = 2 * state});
  const auto reused = [&](uint64_t context, int64_t tokens) {
    return Reused(scheduler, Request("utrc@20%", tokens, context, 5, context));
  };
  EXPECT_EQ(reused(1, 80), 0);
  EXPECT_EQ(reused(2, 80), 0);
  EXPECT_EQ(reused(1, 80), 80);
  EXPECT_EQ(scheduler.counts().states_kept, 2);
  EXPECT_GT(scheduler.counts().states_kept_bytes, 2 * state + 2 * 80 * 4);
  EXPECT_EQ(reused(3, 80), 0);  // the second one goes
  EXPECT_EQ(reused(1, 80), 80);
  EXPECT_EQ(reused(2, 80), 0);
  // Tokens take memory as well: a context of more than an eighth of it is not kept.
  const int64_t many = 2 * state / 8 / 4 + 1;
  EXPECT_EQ(reused(4, many), 0);
  EXPECT_EQ(reused(4, many), 0);
  EXPECT_LE(scheduler.counts().states_kept_bytes, 2 * state + 2 * state / 8);
  Scheduler none(engine_);
  EXPECT_EQ(Reused(none, Request("utrc@20%", 80, 1, 5, 1)), 0);
  EXPECT_EQ(Reused(none, Request("utrc@20%", 80, 1, 5, 1)), 0);
  EXPECT_EQ(none.counts().states_kept_bytes, 0);
}

TEST_P(SchedulingReduced, RefusesPiecesThatCannotBe) {
  Scheduler scheduler(engine_);
  for (const int64_t piece : {int64_t{-1}, int64_t{1}, kLeastPiece - 1, int64_t{1} << 31}) {
    TextRequest request = Request("utrc@20%", 80, 1, 5, 1);
    request.piece = piece;
    EXPECT_NE(ErrorOf([&] { scheduler.Submit({request}); }).find("piece: got"), std::string::npos);
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, SchedulingReduced, ::testing::Bool(), testing::KindName);

}  // namespace
}  // namespace pith
