// The scheduler: whatever else runs, a text gets the bits that it gets alone; scores of prompts are
// those of Engine::Score; what ends a text early frees its place; limits hold; nothing is lost.
#include "pith/scheduler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "core/error.h"
#include "tests/engine/tiny_checkpoint.h"

namespace pith {
namespace {

using testing::ErrorOf;
using testing::RandomIds;

// What a text got, and what it was told on the way.
struct Got {
  TextResult result;
  std::string told;
  std::vector<TokenLogprob> logprobs;
};

// Hands out the results of texts as they are done. Must outlive the scheduler.
class Waiter {
 public:
  TextRequest Watch(TextRequest request) {
    auto got = std::make_shared<Got>();
    auto promise = std::make_shared<std::promise<Got>>();
    results_.push_back(promise->get_future());
    request.on_progress = [got](const TextProgress& progress) {
      got->told += progress.text;
      got->logprobs.insert(got->logprobs.end(), progress.logprobs.begin(), progress.logprobs.end());
    };
    request.on_done = [got, promise](TextResult result) {
      got->result = std::move(result);
      promise->set_value(std::move(*got));
    };
    return request;
  }
  Got Get(size_t i) { return results_.at(i).get(); }

 private:
  std::vector<std::future<Got>> results_;
};

bool SameLogprobs(const std::vector<TokenLogprob>& a, const std::vector<TokenLogprob>& b) {
  const auto same_rank = [](const RankedToken& x, const RankedToken& y) {
    return x.id == y.id && x.logprob == y.logprob;
  };
  return std::ranges::equal(a, b, [&](const TokenLogprob& x, const TokenLogprob& y) {
    return x.id == y.id && x.logprob == y.logprob && x.top_id == y.top_id &&
           x.top_logprob == y.top_logprob && std::ranges::equal(x.ranked, y.ranked, same_rank);
  });
}

class Scheduling : public testing::BothKinds {
 protected:
  // Texts of every kind: short and long, greedy and drawn, reduced by each kind of method, scored.
  std::vector<TextRequest> Mixed(int count) {
    const std::vector<std::string> reductions = {"none",         "utrc@20%", "none",
                                                 "truncate@30%", "skim@20%", "auto@10%"};
    std::vector<TextRequest> requests;
    for (int i = 0; i < count; ++i) {
      TextRequest request;
      request.prompt = RandomIds(i % 7 == 0 ? 400 + i : 20 + 5 * i, 100 + i);
      request.options.max_tokens = i % 5 == 4 ? 0 : 3 + i % 11;
      request.options.stop_at_end_of_text = false;
      request.options.sampling.greedy = i % 2 == 0;
      request.options.sampling.top_k = i % 3 == 0 ? 20 : 0;
      request.options.sampling.repetition_penalty = i % 4 == 1 ? 1.2 : 1;
      request.options.sampling.seed = i;
      request.options.logprobs = i % 4 - 1;
      if (request.prompt.size() >= 60) {
        request.options.reduction = engine_.Compile(reductions[i % reductions.size()]);
      }
      request.whole_tail = i % 3 == 1 ? 10 : 0;
      request.score_prompt = request.options.reduction.none() || request.whole_tail > 0;
      requests.push_back(std::move(request));
    }
    return requests;
  }

  Got Alone(const TextRequest& request) {
    Waiter waiter;
    Scheduler scheduler(engine_, {.max_running = 1});
    scheduler.Submit({waiter.Watch(request)});
    return waiter.Get(0);
  }

  static TextRequest Endless(int64_t prompt, uint64_t seed) {
    TextRequest request{.prompt = RandomIds(prompt, seed)};
    request.options.max_tokens = int64_t{1} << 40;
    request.options.stop_at_end_of_text = false;
    return request;
  }
};

TEST_P(Scheduling, WhatATextGetsDependsOnNothingElseThatRuns) {
  constexpr int kTexts = 64;
  const std::vector<TextRequest> requests = Mixed(kTexts);
  Waiter waiter;
  // Cuts of a sequence change bits on the reference (tiny_checkpoint.h), so there none is cut.
  const bool cuts = testing::DeviceUnderTest() != Device::kReference;
  Scheduler scheduler(engine_, {.max_running = 7, .rows_per_round = cuts ? 48 : 1 << 20});
  // From four threads, in whatever order they come.
  std::vector<TextRequest> watched;
  for (const TextRequest& request : requests) watched.push_back(waiter.Watch(request));
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = t; i < kTexts; i += 4) {
        EXPECT_EQ(scheduler.Submit({watched[i]}).size(), 1u);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int i = 0; i < kTexts; ++i) {
    SCOPED_TRACE(i);
    const Got got = waiter.Get(i);
    ASSERT_FALSE(got.result.error) << got.result.error->what();
    const Got alone = Alone(requests[i]);
    EXPECT_EQ(got.result.generated.ids, alone.result.generated.ids);
    EXPECT_EQ(got.result.generated.text, alone.result.generated.text);
    EXPECT_EQ(got.result.generated.finish, "length");
    EXPECT_EQ(got.result.generated.prefill.rows_left, alone.result.generated.prefill.rows_left);
    EXPECT_EQ(got.result.generated.prefill.realised, alone.result.generated.prefill.realised);
    EXPECT_TRUE(SameLogprobs(got.result.prompt_logprobs, alone.result.prompt_logprobs));
    EXPECT_TRUE(SameLogprobs(got.logprobs, alone.logprobs));
    // What was told on the way is what was given at the end.
    EXPECT_EQ(got.told, got.result.generated.text);
    EXPECT_TRUE(SameLogprobs(got.logprobs, got.result.generated.logprobs));
    EXPECT_EQ(std::ssize(got.logprobs), i % 4 == 0 ? 0 : std::ssize(got.result.generated.ids));
  }
  const SchedulerCounts counts = scheduler.counts();
  EXPECT_EQ(counts.texts, kTexts);
  EXPECT_EQ(counts.waiting + counts.reading + counts.writing + counts.refused, 0);
}

TEST_P(Scheduling, ATextIsWhatGenerateWrites) {
  const bool cuts = testing::DeviceUnderTest() != Device::kReference;
  for (const char* reduce : {"none", "utrc@20%"}) {
    TextRequest request{.prompt = RandomIds(200, 5)};
    request.options.max_tokens = 12;
    request.options.sampling.seed = 3;
    request.options.reduction = engine_.Compile(reduce);
    const GenerateResult expected = engine_.Generate(request.prompt, request.options);
    Waiter waiter;
    Scheduler scheduler(engine_, {.rows_per_round = cuts ? 16 : 1 << 20});
    scheduler.Submit({waiter.Watch(request)});
    const TextResult got = waiter.Get(0).result;
    EXPECT_EQ(got.generated.ids, expected.ids);
    EXPECT_EQ(got.generated.text, expected.text);
    EXPECT_EQ(got.generated.finish, expected.finish);
    EXPECT_EQ(got.generated.prefill.realised, expected.prefill.realised);
  }
}

// The same passes: the same bits.
TEST_P(Scheduling, ScoresOfATailAreThoseOfScore) {
  const std::vector<int32_t> ids = RandomIds(150, 8);
  constexpr int64_t kTail = 20;
  const ScoreItem item{{ids.begin(), ids.end() - kTail}, {ids.end() - kTail, ids.end()}};
  for (const char* reduce : {"utrc@20%", "truncate@30%", "skim@20%", "auto@10%"}) {
    SCOPED_TRACE(reduce);
    const Reduction reduction = engine_.Compile(reduce);
    const ScoreResult expected =
        engine_.Score({&item, 1}, {.reduction = reduction, .logprobs = true}).at(0);
    TextRequest request{.prompt = ids, .whole_tail = kTail, .score_prompt = true};
    request.options.max_tokens = 0;
    request.options.reduction = reduction;
    const TextResult got = Alone(request).result;
    EXPECT_TRUE(SameLogprobs(got.prompt_logprobs, expected.token_logprobs));
    EXPECT_EQ(got.generated.prefill.realised, expected.realised);
    EXPECT_EQ(got.generated.prefill.rows_left, expected.context_rows + kTail);
  }
  // Without a reduction: of all tokens, and a tail that is longer than the prompt is all of it.
  const ScoreItem whole{{}, ids};
  const ScoreResult expected = engine_.Score({&whole, 1}, {.logprobs = true}).at(0);
  for (const char* reduce : {"none", "utrc@20%"}) {
    TextRequest request{.prompt = ids, .whole_tail = 1000, .score_prompt = true};
    request.options.max_tokens = 0;
    request.options.reduction = engine_.Compile(reduce);
    EXPECT_TRUE(SameLogprobs(Alone(request).result.prompt_logprobs, expected.token_logprobs));
  }
}

// Of the row that a token was drawn from.
TEST_P(Scheduling, LogprobsOfWhatIsWritten) {
  TextRequest request{.prompt = RandomIds(60, 4)};
  request.options.max_tokens = 8;
  request.options.stop_at_end_of_text = false;
  request.options.logprobs = 5;
  const TextResult got = Alone(request).result;
  ScoreItem item{request.prompt, got.generated.ids};
  const ScoreResult expected = engine_.Score({&item, 1}, {.logprobs = true}).at(0);
  ASSERT_EQ(std::ssize(got.generated.logprobs), 8);
  for (int i = 0; i < 8; ++i) {
    const TokenLogprob& token = got.generated.logprobs[i];
    EXPECT_EQ(token.id, got.generated.ids[i]);
    // A step scans in another order than prefill: at most a few hundred roundings of 6e-8 of
    // numbers of size 1, through 8 layers.
    EXPECT_NEAR(token.logprob, expected.token_logprobs[i].logprob, 1e-4);
    ASSERT_EQ(token.ranked.size(), 5u);
    EXPECT_EQ(token.ranked[0].id, token.top_id);
    EXPECT_EQ(token.ranked[0].logprob, token.top_logprob);
    for (int r = 1; r < 5; ++r) EXPECT_LE(token.ranked[r].logprob, token.ranked[r - 1].logprob);
    for (const RankedToken& ranked : token.ranked) {
      if (ranked.id == token.id) {
        EXPECT_EQ(ranked.logprob, token.logprob);
      }
    }
  }
}

// A chat of 20 turns: each prompt is the one before, its answer, and something new. With states
// kept no turn reads more than the answer, what is new, and a block; bits are those without.
TEST_P(Scheduling, AChatReadsWhatIsNew) {
  if (testing::DeviceUnderTest() == Device::kReference) {
    GTEST_SKIP() << "the reference keeps no states, since a cut costs it a rounding";
  }
  constexpr int64_t kBlock = 16;
  constexpr int64_t kNew = 30;
  constexpr int64_t kAnswer = 10;
  Waiter waiter;
  Scheduler scheduler(engine_, {.rows_per_round = 16, .state_memory = 64 << 20});
  std::vector<int32_t> prompt;
  for (int turn = 0; turn < 20; ++turn) {
    const std::vector<int32_t> fresh = RandomIds(kNew, 900 + turn);
    prompt.insert(prompt.end(), fresh.begin(), fresh.end());
    TextRequest request{.prompt = prompt};
    request.options.max_tokens = kAnswer;
    request.options.stop_at_end_of_text = false;
    request.options.logprobs = 0;
    scheduler.Submit({waiter.Watch(request)});
    const TextResult got = waiter.Get(turn).result;
    const TextResult alone = Alone(request).result;
    EXPECT_EQ(got.generated.ids, alone.generated.ids);
    EXPECT_TRUE(SameLogprobs(got.generated.logprobs, alone.generated.logprobs));
    EXPECT_EQ(alone.generated.prefill.reused, 0);
    EXPECT_EQ(got.generated.prefill.rows_left, std::ssize(prompt));
    const int64_t read = std::ssize(prompt) - got.generated.prefill.reused;
    EXPECT_GE(read, 1);
    EXPECT_LE(read, kNew + kAnswer + kBlock);
    prompt.insert(prompt.end(), got.generated.ids.begin(), got.generated.ids.end());
  }
}

// Prompts that begin alike and go on differently: the second one leaves a state where they part,
// from which the third one goes on. Reduced and scored prompts are read whole. Where there is room
// for few states, the ones that were used last stay.
TEST_P(Scheduling, PromptsThatBeginAlike) {
  if (testing::DeviceUnderTest() == Device::kReference) {
    GTEST_SKIP() << "the reference keeps no states, since a cut costs it a rounding";
  }
  const std::vector<int32_t> common = RandomIds(100, 1);  // 6 blocks of 16, and 4 tokens
  const auto text = [&](uint64_t seed) {
    TextRequest request{.prompt = common};
    const std::vector<int32_t> rest = RandomIds(70, seed);
    request.prompt.insert(request.prompt.end(), rest.begin(), rest.end());
    request.options.max_tokens = 5;
    request.options.stop_at_end_of_text = false;
    return request;
  };
  const auto reused = [&](Scheduler& scheduler, const TextRequest& request) {
    Waiter waiter;
    scheduler.Submit({waiter.Watch(request)});
    const TextResult got = waiter.Get(0).result;
    EXPECT_EQ(got.generated.ids, Alone(request).result.generated.ids);
    return got.generated.prefill.reused;
  };
  Scheduler scheduler(engine_, {.state_memory = 64 << 20});
  EXPECT_EQ(reused(scheduler, text(11)), 0);
  EXPECT_EQ(reused(scheduler, text(12)), 0);
  EXPECT_EQ(reused(scheduler, text(13)), 96);
  EXPECT_EQ(reused(scheduler, text(11)), 160);
  EXPECT_EQ(scheduler.counts().prompt_tokens_reused, 256);
  TextRequest reduced = text(11);
  reduced.options.reduction = engine_.Compile("utrc@20%");
  EXPECT_EQ(reused(scheduler, reduced), 0);
  TextRequest scored = text(11);
  scored.score_prompt = true;
  EXPECT_EQ(reused(scheduler, scored), 0);

  Scheduler small(engine_, {.state_memory = 2 * engine_.info().state_bytes});
  EXPECT_EQ(reused(small, text(11)), 0);
  EXPECT_EQ(reused(small, text(12)), 0);  // its end and the parting push out the first one's end
  EXPECT_EQ(reused(small, text(12)), 160);
  EXPECT_EQ(reused(small, text(11)), 96);  // its end pushes out the one used longest ago
  EXPECT_EQ(reused(small, text(11)), 160);
}

TEST_P(Scheduling, CancellingFreesThePlace) {
  Waiter waiter;
  Scheduler scheduler(engine_, {.max_running = 1});
  const auto first = scheduler.Submit({waiter.Watch(Endless(10, 1))});
  const auto never = scheduler.Submit({waiter.Watch(Endless(10, 2))});
  TextRequest last{.prompt = RandomIds(10, 3)};
  last.options.max_tokens = 2;
  scheduler.Submit({waiter.Watch(last)});
  scheduler.Cancel(never.at(0));
  EXPECT_EQ(waiter.Get(1).result.generated.finish, "cancelled");
  scheduler.Cancel(first.at(0));
  const Got got = waiter.Get(0);
  EXPECT_EQ(got.result.generated.finish, "cancelled");
  EXPECT_EQ(got.told, got.result.generated.text);
  EXPECT_EQ(waiter.Get(2).result.generated.finish, "length");
  scheduler.Cancel(12345);  // nobody's
}

TEST_P(Scheduling, TimeRunsOut) {
  Waiter waiter;
  Scheduler scheduler(engine_, {.max_running = 1});
  TextRequest request = Endless(10, 1);
  request.max_seconds = 0.05;
  // The second one waits for the first, and its time runs too.
  scheduler.Submit({waiter.Watch(request), waiter.Watch(request)});
  EXPECT_EQ(waiter.Get(0).result.generated.finish, "time");
  EXPECT_EQ(waiter.Get(1).result.generated.finish, "time");
}

TEST_P(Scheduling, RefusesWhatMayNotWait) {
  Waiter waiter;
  Scheduler scheduler(engine_, {.max_running = 1, .max_waiting = 2});
  const auto texts = scheduler.Submit(
      {waiter.Watch(Endless(10, 1)), waiter.Watch(Endless(10, 2)), waiter.Watch(Endless(10, 3))});
  EXPECT_EQ(texts.size(), 3u);
  EXPECT_TRUE(scheduler.Submit({Endless(10, 4)}).empty());
  EXPECT_EQ(scheduler.counts().refused, 1);
  scheduler.Stop();
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(waiter.Get(i).result.generated.finish, "cancelled");
  EXPECT_TRUE(scheduler.Submit({Endless(10, 4)}).empty());
}

TEST_P(Scheduling, DrainingFinishesWhatRuns) {
  Waiter waiter;
  std::promise<void> begun, drained;
  {
    Scheduler scheduler(engine_, {.max_running = 1});
    TextRequest request{.prompt = RandomIds(10, 1)};
    request.options.max_tokens = 200;
    request.options.stop_at_end_of_text = false;
    request = waiter.Watch(std::move(request));
    request.on_prompt = [&](const PrefillReport&) {
      begun.set_value();
      drained.get_future().wait();
    };
    scheduler.Submit({request});
    begun.get_future().wait();
    scheduler.Submit({waiter.Watch(Endless(10, 2))});
    scheduler.Drain();
    drained.set_value();
    EXPECT_EQ(waiter.Get(0).result.generated.finish, "length");
    EXPECT_EQ(waiter.Get(1).result.generated.finish, "cancelled");
    EXPECT_TRUE(scheduler.Submit({Endless(10, 4)}).empty());
    scheduler.Stop();
  }
}

TEST_P(Scheduling, AnUnfinishedSchedulerEndsItsTexts) {
  Waiter waiter;
  {
    Scheduler scheduler(engine_, {.max_running = 2});
    scheduler.Submit({waiter.Watch(Endless(3000, 1)), waiter.Watch(Endless(10, 2)),
                      waiter.Watch(Endless(10, 3))});
  }
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(waiter.Get(i).result.generated.finish, "cancelled");
}

TEST_P(Scheduling, RefusesWhatNoTextCanBe) {
  Scheduler scheduler(engine_, {.max_prompt_tokens = 100});
  const auto error = [&](auto change) {
    TextRequest request{.prompt = RandomIds(50, 1)};
    change(request);
    return ErrorOf([&] { scheduler.Submit({request}); });
  };
  const auto expect = [&](const char* text, auto change) {
    EXPECT_NE(error(change).find(text), std::string::npos) << error(change);
  };
  expect("tokens of the prompt: got 0", [](TextRequest& r) { r.prompt.clear(); });
  expect("got 101, expected 1 to 100", [](TextRequest& r) { r.prompt = RandomIds(101, 1); });
  expect("264", [](TextRequest& r) { r.prompt.push_back(264); });
  expect("-1", [](TextRequest& r) { r.prompt.push_back(-1); });
  expect("max-tokens", [](TextRequest& r) { r.options.max_tokens = -1; });
  expect("logprobs", [](TextRequest& r) { r.options.logprobs = 1000; });
  expect("top-p", [](TextRequest& r) { r.options.sampling.top_p = 2; });
  expect("whole tail", [](TextRequest& r) { r.whole_tail = -1; });
  expect("read whole", [&](TextRequest& r) {
    r.options.reduction = engine_.Compile("utrc@20%");
    r.score_prompt = true;
  });
  EXPECT_NE(ErrorOf([&] { Scheduler(engine_, {.max_running = 0}); }).find("max-running"),
            std::string::npos);
  EXPECT_EQ(scheduler.counts().texts, 0);
}

INSTANTIATE_TEST_SUITE_P(Kinds, Scheduling, ::testing::Bool(), testing::KindName);

}  // namespace
}  // namespace pith
