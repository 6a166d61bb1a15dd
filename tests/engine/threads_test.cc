// One engine, many threads: the same results as one after the other. Under a thread sanitizer this
// is the test that must stay silent, so it stays small.

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "pith/engine.h"
#include "tests/engine/tiny_checkpoint.h"

namespace pith {
namespace {

using testing::RandomIds;

struct Work {
  double logprob = 0;
  double nll = 0;
  std::vector<int32_t> ids;
  std::string text;
  std::vector<int32_t> tokens;
  int64_t kept = 0;
  bool operator==(const Work&) const = default;
};

// Every entry of the public interface once, on a text of the worker's own.
Work Do(const Engine& engine, uint64_t seed) {
  const Reduction reduction = engine.Compile("utrc@20%");
  const std::vector<int32_t> prompt = RandomIds(40 + static_cast<int64_t>(seed), seed);
  Work work;
  const std::vector<ScoreItem> items = {{prompt, {1, 2, 3}}, {prompt, {4}}};
  for (const ScoreResult& r : engine.Score(items, {.reduction = reduction}))
    work.logprob += r.logprob;
  work.nll = engine.Perplexity(prompt).nll;
  GenerateOptions options;
  options.max_tokens = 6;
  options.sampling.seed = seed;
  options.reduction = reduction;
  Session session = engine.NewSession();
  session.Append(prompt, reduction);
  Session fork = session;
  const GenerateResult result = fork.Generate({}, options);
  work.ids = result.ids;
  work.text = result.text;
  work.tokens = engine.Tokenize(engine.Detokenize(prompt));
  for (const TokenFate& fate : engine.Inspect(prompt, reduction).tokens) {
    work.kept += fate.site < 0 ? 1 : 0;
  }
  return work;
}

TEST(Threads, ShareOneEngine) {
  constexpr int kThreads = 3;
  for (const bool mamba2 : {false, true}) {
    const Engine engine = testing::LoadTiny({.mamba2 = mamba2}, testing::TinyOptions(1));
    std::vector<Work> together(kThreads);
    {
      std::vector<std::jthread> threads;
      for (int t = 0; t < kThreads; ++t) {
        threads.emplace_back([&, t] { together[t] = Do(engine, t); });
      }
    }
    for (int t = 0; t < kThreads; ++t) EXPECT_EQ(together[t], Do(engine, t)) << t;
    EXPECT_NE(together[0], together[1]);
  }
}

// A copy of a session is another text: both may run at once, and so may a session whose engine
// object is gone.
TEST(Threads, ForksRunAtOnce) {
  Session session = testing::LoadTiny({}, testing::TinyOptions(1)).NewSession();
  session.Append(RandomIds(30, 1));
  GenerateOptions options;
  options.max_tokens = 6;
  Session alone = session;
  const std::vector<int32_t> expected = alone.Generate({}, options).ids;
  std::vector<Session> forks(3, session);
  std::vector<std::vector<int32_t>> ids(forks.size());
  {
    std::vector<std::jthread> threads;
    for (size_t t = 0; t < forks.size(); ++t) {
      threads.emplace_back([&, t] { ids[t] = forks[t].Generate({}, options).ids; });
    }
  }
  for (const auto& said : ids) EXPECT_EQ(said, expected);
}

TEST(Threads, NumberOfThreadsChangesNoBit) {
  const Engine one = testing::LoadTiny({}, testing::TinyOptions(1));
  const Engine three = testing::LoadTiny({}, testing::TinyOptions(3));
  EXPECT_EQ(Do(one, 5), Do(three, 5));
}

// Large enough that operators do share out their work, of which the tiny models have too little:
// prompts that are reduced and steps of a shipped model of each kind.
TEST(Threads, NumberOfThreadsChangesNoBitOfShippedModels) {
  if (testing::DeviceUnderTest() == Device::kReference) GTEST_SKIP() << "has one thread";
  for (const char* model : {"pith-13m-mamba1", "pith-27m-mamba2"}) {
    const auto path = std::filesystem::path(PITH_SOURCE_DIR) / "models" / model;
    const std::vector<int32_t> prompt = RandomIds(300, 1);
    const auto read = [&](int threads) {
      const Engine engine = Engine::Load(path, testing::TinyOptions(threads));
      std::vector<double> results;
      for (const char* reduce : {"none", "utrc@30%", "skim"}) {
        const Reduction reduction = engine.Compile(reduce);
        const std::vector<ScoreItem> items = {{prompt, {1, 2, 3, 4}}};
        results.push_back(engine.Score(items, {.reduction = reduction})[0].logprob);
        GenerateOptions options{.max_tokens = 6, .reduction = reduction};
        for (const int32_t id : engine.Generate(prompt, options).ids) results.push_back(id);
      }
      return results;
    };
    const std::vector<double> one = read(1);
    for (const int threads : {2, 3}) EXPECT_EQ(read(threads), one) << model << ", " << threads;
  }
}

}  // namespace
}  // namespace pith
