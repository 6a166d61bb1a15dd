// Scoring (laws 2, 4 and 5): the same bits for any batch, order and sharing of contexts and for a
// reduction of nothing; a reduction alters what the context left behind and nothing else; and the
// chain rule ties continuations to whole documents.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <string>
#include <vector>

#include "pith/engine.h"
#include "tests/engine/tiny_checkpoint.h"

namespace pith {

bool operator==(const TokenLogprob& a, const TokenLogprob& b) {
  return a.id == b.id && a.logprob == b.logprob && a.top_id == b.top_id &&
         a.top_logprob == b.top_logprob;
}
bool operator==(const ScoreResult& a, const ScoreResult& b) {
  return a.logprob == b.logprob && a.tokens == b.tokens && a.greedy == b.greedy &&
         a.greedy_tokens == b.greedy_tokens && a.context_tokens == b.context_tokens &&
         a.context_rows == b.context_rows && a.realised == b.realised &&
         a.token_logprobs == b.token_logprobs;
}

namespace {

using testing::RandomIds;

class Score : public testing::BothKinds {
 protected:
  std::vector<ScoreResult> Run(const std::vector<ScoreItem>& items, const std::string& reduce,
                               int64_t max_batch_tokens = 8192, int64_t max_state_bytes = 1 << 30) {
    return engine_.Score(items, {.reduction = engine_.Compile(reduce),
                                 .logprobs = true,
                                 .max_batch_tokens = max_batch_tokens,
                                 .max_state_bytes = max_state_bytes});
  }
};

// Contexts of many lengths, some shared, one empty; continuations of one token and of more.
std::vector<ScoreItem> Items() {
  std::vector<ScoreItem> items;
  for (const int64_t length : {1, 7, 64, 65, 130, 33}) {
    for (const int64_t tail : {1, 2, 40}) {
      if ((length + tail) % 3 != 0) continue;
      items.push_back({RandomIds(length, length), RandomIds(tail, 100 + tail)});
      items.push_back({RandomIds(length, length), RandomIds(tail + 1, 200 + tail)});
    }
  }
  items.push_back({{}, RandomIds(50, 9)});
  items.push_back({RandomIds(64, 64), RandomIds(5, 10)});
  return items;
}

TEST_P(Score, ReducingNothingChangesNothing) {
  const auto expected = Run(Items(), "none");
  for (const char* reduce : {"utrc:keep=1", "utrc@0%", "truncate@0%", "prefix-thin:keep=1"}) {
    EXPECT_EQ(Run(Items(), reduce), expected) << reduce;
  }
}

TEST_P(Score, SameNumbersForAnyBatch) {
  const std::vector<ScoreItem> items = Items();
  std::vector<ScoreItem> reversed(items.rbegin(), items.rend());
  for (const char* reduce : {"none", "utrc@30%"}) {
    SCOPED_TRACE(reduce);
    const auto expected = Run(items, reduce);
    EXPECT_EQ(Run(items, reduce, 1), expected);
    EXPECT_EQ(Run(items, reduce, 150), expected);
    EXPECT_EQ(Run(items, reduce, 8192, 1), expected);  // one state at a time
    EXPECT_EQ(Run(items, reduce, 8192, 3 * engine_.info().state_bytes), expected);
    auto back = Run(reversed, reduce);
    std::reverse(back.begin(), back.end());
    EXPECT_EQ(back, expected);
  }
}

TEST_P(Score, SharedContextsEqualSeparateOnes) {
  const std::vector<ScoreItem> items = Items();
  for (const char* reduce : {"none", "utrc@30%"}) {
    const auto together = Run(items, reduce);
    for (size_t i = 0; i < items.size(); ++i) {
      EXPECT_EQ(Run({items[i]}, reduce)[0], together[i]) << reduce << ", item " << i;
    }
  }
}

TEST_P(Score, ReadsEveryDistinctContextOnce) {
  const std::vector<int32_t> a = RandomIds(20, 1);
  const std::vector<int32_t> b = RandomIds(30, 2);
  ScoreStats stats;
  engine_.Score(std::vector<ScoreItem>{{a, {1}}, {b, {2}}, {a, {3, 4}}, {{}, {5, 6}}}, {}, &stats);
  EXPECT_EQ(stats.context_tokens, 50);
}

TEST_P(Score, ResultAddsUp) {
  for (const ScoreItem& item : Items()) {
    const ScoreResult result = Run({item}, "none")[0];
    const bool empty = item.context.empty();
    ASSERT_EQ(result.tokens, std::ssize(item.continuation) - (empty ? 1 : 0));
    ASSERT_EQ(std::ssize(result.token_logprobs), result.tokens);
    EXPECT_EQ(result.context_tokens, std::ssize(item.context));
    double sum = 0;
    int64_t greedy = 0;
    for (int64_t t = 0; t < result.tokens; ++t) {
      const TokenLogprob& token = result.token_logprobs[t];
      EXPECT_EQ(token.id, item.continuation[t + (empty ? 1 : 0)]);
      EXPECT_LE(token.logprob, token.top_logprob);
      EXPECT_LT(token.top_logprob, 0);
      sum += token.logprob;
      greedy += token.id == token.top_id ? 1 : 0;
    }
    EXPECT_EQ(result.logprob, sum);
    EXPECT_EQ(result.greedy_tokens, greedy);
    EXPECT_EQ(result.greedy, greedy == result.tokens);
  }
}

// A continuation made of the model's own choices is greedy; one other token ends that.
TEST_P(Score, TellsGreedyContinuations) {
  const std::vector<int32_t> context = RandomIds(30, 3);
  std::vector<int32_t> chosen;
  for (int i = 0; i < 6; ++i) {
    chosen.push_back(0);
    chosen.back() = Run({{context, chosen}}, "none")[0].token_logprobs.back().top_id;
  }
  const ScoreResult all = Run({{context, chosen}}, "none")[0];
  EXPECT_TRUE(all.greedy);
  EXPECT_EQ(all.greedy_tokens, 6);
  chosen[3] = (chosen[3] + 1) % 250;
  EXPECT_FALSE(Run({{context, chosen}}, "none")[0].greedy);
}

// log p(c, d) = log p(c) + log p(d | c). The cuts differ, so f32 sums run in another order: through
// 8 layers of about 10 rounded operations of 6e-8, sums of up to 64 terms growing that by 8, a row
// moves by at most 8 · 10 · 8 · 6e-8 = 4e-5 of its norm √32. An embedding has norm near 1 (at most
// 2), so a logit moves by 4.5e-4, and a log-probability by twice that. Reading one token too many,
// too few, or the wrong one costs whole nats.
TEST_P(Score, ChainRule) {
  for (const int64_t length : {2, 16, 17, 63, 100}) {
    SCOPED_TRACE(length);
    const std::vector<int32_t> context = RandomIds(length, 5);
    const std::vector<int32_t> continuation = RandomIds(37, 6);
    std::vector<int32_t> whole = context;
    whole.insert(whole.end(), continuation.begin(), continuation.end());
    const auto document = [&](const std::vector<int32_t>& ids) {
      const PerplexityResult result = engine_.Perplexity(ids);
      EXPECT_EQ(result.tokens, std::ssize(ids) - 1);
      EXPECT_EQ(result.ppl, std::exp(result.nll));
      return -result.nll * static_cast<double>(result.tokens);
    };
    const double bound = 9e-4 * static_cast<double>(whole.size());
    EXPECT_NEAR(Run({{context, continuation}}, "none")[0].logprob,
                document(whole) - document(context), bound);
    EXPECT_NEAR(Run({{{}, whole}}, "none")[0].logprob, document(whole), bound);
  }
}

TEST_P(Score, ReducesTheContextAsPlanned) {
  const std::vector<int32_t> context = RandomIds(130, 7);
  const std::vector<int32_t> continuation = RandomIds(20, 8);
  const ScoreResult dense = Run({{context, continuation}}, "none")[0];
  EXPECT_EQ(dense.realised, 0);
  EXPECT_EQ(dense.context_rows, 130);
  for (const char* reduce : {"utrc@30%", "utrc@10%", "random@30%:seed=3", "truncate@30%"}) {
    SCOPED_TRACE(reduce);
    const PlanReport plan = engine_.Plan(130, engine_.Compile(reduce));
    const ScoreResult result = Run({{context, continuation}}, reduce)[0];
    EXPECT_GT(result.realised, 0);
    EXPECT_EQ(result.realised, plan.realised);
    EXPECT_EQ(result.context_rows, plan.sites.back().out);
    EXPECT_EQ(result.context_tokens, 130);
    EXPECT_NE(result.logprob, dense.logprob);
    EXPECT_EQ(result.tokens, 20);  // read whole
  }
}

// What follows the context has no say in what is left of it.
TEST_P(Score, ThePlanKnowsNothingOfTheContinuation) {
  const std::vector<int32_t> context = RandomIds(130, 7);
  const auto first = [&](int64_t length) {
    std::vector<int32_t> continuation = {42};
    const std::vector<int32_t> more = RandomIds(length, length);
    continuation.insert(continuation.end(), more.begin(), more.end());
    return Run({{context, continuation}}, "utrc@30%")[0].token_logprobs[0];
  };
  EXPECT_EQ(first(0), first(1));
  EXPECT_EQ(first(0), first(50));
}

TEST_P(Score, RefusesWhatHasNothingToScore) {
  const auto code = [&](const ScoreItem& item, const std::string& part) {
    try {
      Run({{{1}, {2}}, item}, "none");
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
      return error.code();
    }
    return ErrorCode::kInternal;
  };
  EXPECT_EQ(code({{1}, {}}, "item 1"), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code({{}, {5}}, "item 1"), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code({{264}, {5}}, "264"), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code({{1}, {-1}}, "-1"), ErrorCode::kInvalidArgument);
  EXPECT_THROW(engine_.Perplexity(std::vector<int32_t>{1}), Error);
  EXPECT_TRUE(Run({}, "none").empty());
}

TEST_P(Score, CanBeCancelled) {
  const std::atomic<bool> cancel = true;
  try {
    engine_.Score(Items(), {.control = {.cancel = &cancel}});
    ADD_FAILURE() << "not cancelled";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCancelled);
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, Score, ::testing::Bool(), testing::KindName);

}  // namespace
}  // namespace pith
