// The sampler against its definition: on hand-made probabilities the set of tokens that can come
// out is told by hand for each filter, and a draw is the standard's mt19937_64 put through the
// inverse of the distribution function.

#include "generate/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "ops/backend.h"
#include "ops/draw_tokens.h"
#include "pith/error.h"
#include "tests/device.h"
#include "tests/shared_memory.h"

namespace pith {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

// Not sorted, so that ranks and ids differ. By rank: ids 3, 0, 4, 1, 2.
const std::vector<double> kProbabilities = {0.3, 0.1, 0.05, 0.4, 0.15};

std::vector<float> LogitsOf(const std::vector<double>& probabilities, double shift = 2.5) {
  std::vector<float> logits;
  for (const double p : probabilities) logits.push_back(static_cast<float>(std::log(p) + shift));
  return logits;
}

// A token of these logits, which are overwritten as DrawTokens does.
int32_t Sample(Sampler& sampler, std::vector<float>& logits) {
  const DrawRow draw = sampler.Next();
  testing::Shared<float> row(logits.begin(), logits.end());
  int32_t drawn = -2;
  const Exec exec = ExecOn(testing::DeviceUnderTest());
  DrawTokens(exec, {row.data(), 1, std::ssize(logits)}, {&draw, 1}, {&drawn, 1});
  logits.assign(row.begin(), row.end());
  return Sampler::RequireSound(drawn);
}

std::vector<int64_t> Counts(const SamplingOptions& options, const std::vector<float>& logits,
                            int64_t draws) {
  Sampler sampler(options, static_cast<int64_t>(logits.size()));
  std::vector<int64_t> counts(logits.size(), 0);
  for (int64_t i = 0; i < draws; ++i) {
    std::vector<float> copy = logits;
    counts.at(Sample(sampler, copy)) += 1;
  }
  return counts;
}

// 2,000 draws miss a token of probability 0.03 once in 10^26 times.
std::set<int> Candidates(const SamplingOptions& options,
                         const std::vector<float>& logits = LogitsOf(kProbabilities)) {
  const std::vector<int64_t> counts = Counts(options, logits, 2000);
  std::set<int> ids;
  for (size_t id = 0; id < counts.size(); ++id) {
    if (counts[id] > 0) ids.insert(static_cast<int>(id));
  }
  return ids;
}

using Ids = std::set<int>;

TEST(Sampler, TopK) {
  EXPECT_EQ(Candidates({}), (Ids{0, 1, 2, 3, 4}));
  EXPECT_EQ(Candidates({.top_k = 1}), Ids{3});
  EXPECT_EQ(Candidates({.top_k = 3}), (Ids{0, 3, 4}));
  EXPECT_EQ(Candidates({.top_k = 5}), (Ids{0, 1, 2, 3, 4}));
  EXPECT_EQ(Candidates({.top_k = 50}), (Ids{0, 1, 2, 3, 4}));
  EXPECT_EQ(Candidates({.top_k = 2}, {1, 2, 2, 2}), (Ids{1, 2}));  // ties: the lower ids
}

TEST(Sampler, TopP) {
  EXPECT_EQ(Candidates({.top_p = 0.01}), Ids{3});
  EXPECT_EQ(Candidates({.top_p = 0.39}), Ids{3});
  EXPECT_EQ(Candidates({.top_p = 0.41}), (Ids{0, 3}));
  EXPECT_EQ(Candidates({.top_p = 0.69}), (Ids{0, 3}));
  EXPECT_EQ(Candidates({.top_p = 0.71}), (Ids{0, 3, 4}));
  EXPECT_EQ(Candidates({.top_p = 0.96}), (Ids{0, 1, 2, 3, 4}));
}

// The bound is a share of the likeliest: 0.4 · share.
TEST(Sampler, MinP) {
  EXPECT_EQ(Candidates({.min_p = 1}), Ids{3});
  EXPECT_EQ(Candidates({.min_p = 0.76}), Ids{3});
  EXPECT_EQ(Candidates({.min_p = 0.74}), (Ids{0, 3}));
  EXPECT_EQ(Candidates({.min_p = 0.3}), (Ids{0, 3, 4}));
  EXPECT_EQ(Candidates({.min_p = 0.12}), (Ids{0, 1, 2, 3, 4}));
}

TEST(Sampler, FiltersApplyInOrder) {
  // At temperature ½ the probabilities go as their squares: .561 .316 .079 .035 .009.
  EXPECT_EQ(Candidates({.temperature = 1, .top_p = 0.8}), (Ids{0, 3, 4}));
  EXPECT_EQ(Candidates({.temperature = 0.5, .top_p = 0.8}), (Ids{0, 3}));
  // After top-k 3, what is left is .471 .353 .176: two of them make 0.8.
  EXPECT_EQ(Candidates({.top_k = 3, .top_p = 0.8}), (Ids{0, 3}));
  // A repeated token is penalised before it is ranked.
  SamplingOptions options{.top_k = 1, .repetition_penalty = 10};
  Sampler sampler(options, 5);
  const std::vector<int32_t> seen = {3};
  sampler.Observe(seen);
  std::vector<float> logits = LogitsOf(kProbabilities);
  EXPECT_EQ(Sample(sampler, logits), 0);
}

// The standard deviation of a frequency is √(p(1−p)/n); five of them are missed once in 10^6.
TEST(Sampler, DrawsWithTheRightFrequencies) {
  constexpr int64_t kDraws = 40000;
  for (const double temperature : {1.0, 0.5, 2.0}) {
    std::vector<double> expected;
    double total = 0;
    for (const double p : kProbabilities) total += std::pow(p, 1 / temperature);
    for (const double p : kProbabilities) expected.push_back(std::pow(p, 1 / temperature) / total);
    const auto counts =
        Counts({.temperature = temperature, .seed = 11}, LogitsOf(kProbabilities), kDraws);
    for (size_t id = 0; id < expected.size(); ++id) {
      const double p = expected[id];
      EXPECT_NEAR(static_cast<double>(counts[id]) / kDraws, p, 5 * std::sqrt(p * (1 - p) / kDraws))
          << "id " << id << ", temperature " << temperature;
    }
  }
}

// The C++ standard fixes mt19937_64; its upper 53 bits are the uniform number.
TEST(Sampler, ADrawIsTheInverseOfTheDistribution) {
  for (const uint64_t seed : {uint64_t{0}, uint64_t{1}, uint64_t{0xffffffffffffffff}}) {
    Sampler sampler({.seed = seed}, 4);
    std::mt19937_64 random(seed);
    for (int i = 0; i < 200; ++i) {
      std::vector<float> logits(4, -1.0f);
      const double uniform = static_cast<double>(random() >> 11) / 9007199254740992.0;
      ASSERT_EQ(Sample(sampler, logits), static_cast<int>(uniform * 4)) << i;
    }
  }
}

TEST(Sampler, SameSeedSameTokens) {
  const auto draw = [](uint64_t seed) {
    Sampler sampler({.temperature = 1.3, .top_p = 0.95, .seed = seed}, 5);
    std::vector<int32_t> ids;
    for (int i = 0; i < 100; ++i) {
      std::vector<float> logits = LogitsOf(kProbabilities);
      ids.push_back(Sample(sampler, logits));
    }
    return ids;
  };
  EXPECT_EQ(draw(7), draw(7));
  EXPECT_NE(draw(7), draw(8));
}

TEST(Sampler, GreedyTakesTheLowerIdOfATie) {
  for (const SamplingOptions& options :
       {SamplingOptions{.greedy = true}, SamplingOptions{.temperature = 0}}) {
    Sampler sampler(options, 5);
    std::vector<float> logits = {-1, 3, 2, 3, 3};
    for (int i = 0; i < 20; ++i) EXPECT_EQ(Sample(sampler, logits), 1);
    std::vector<float> low = {-kInf, -kInf, -5, -kInf, -5};
    EXPECT_EQ(Sample(sampler, low), 2);
  }
}

TEST(Sampler, NeverDrawsTheImpossible) {
  EXPECT_EQ(Candidates({}, {-kInf, 0, -kInf, 0}), (Ids{1, 3}));
  EXPECT_EQ(Candidates({.temperature = 0.001}, {1000, -1000, 999}), Ids{0});
  EXPECT_EQ(Candidates({.temperature = 1e6}, {10, -10}), (Ids{0, 1}));
}

// What damaged weights give: no id is made up, whatever the options.
TEST(Sampler, RefusesBrokenLogits) {
  const std::vector<std::vector<float>> broken = {
      {0, std::nanf(""), 1}, {0, kInf, 1}, {-kInf, -kInf, -kInf}};
  for (const std::vector<float>& logits : broken) {
    for (const bool greedy : {false, true}) {
      std::vector<float> copy = logits;
      Sampler sampler({.greedy = greedy}, 3);
      EXPECT_THROW(Sample(sampler, copy), Error);
    }
  }
}

// Keskar et al.: a positive logit is divided, a negative one multiplied, so both sink.
TEST(Sampler, RepetitionPenaltyLowersSeenTokensOfEitherSign) {
  Sampler sampler({.greedy = true, .repetition_penalty = 2}, 5);
  const std::vector<int32_t> seen = {0, 1, 4, 1};
  sampler.Observe(seen);
  std::vector<float> logits = {3, -2, 1.25, -2, 0};
  EXPECT_EQ(Sample(sampler, logits), 0);
  EXPECT_EQ(logits, (std::vector<float>{1.5, -4, 1.25, -2, 0}));

  Sampler raising({.greedy = true, .repetition_penalty = 0.5}, 2);
  raising.Observe(std::vector<int32_t>{1});
  std::vector<float> two = {3, 2};
  EXPECT_EQ(Sample(raising, two), 1);

  Sampler without({.greedy = true}, 5);
  without.Observe(seen);
  logits = {3, -2, 1.25, -2, 0};
  Sample(without, logits);
  EXPECT_EQ(logits, (std::vector<float>{3, -2, 1.25, -2, 0}));
}

TEST(Sampler, RefusesOptionsOutOfRange) {
  const double nan = std::nan("");
  const double inf = std::numeric_limits<double>::infinity();
  const std::vector<std::pair<std::string, std::vector<SamplingOptions>>> bad = {
      {"temperature", {{.temperature = -0.1}, {.temperature = nan}, {.temperature = inf}}},
      {"top-k", {{.top_k = -1}}},
      {"top-p", {{.top_p = 0}, {.top_p = -1}, {.top_p = 1.01}, {.top_p = nan}}},
      {"min-p", {{.min_p = -0.01}, {.min_p = 1.01}, {.min_p = nan}}},
      {"repetition-penalty",
       {{.repetition_penalty = 0},
        {.repetition_penalty = -1},
        {.repetition_penalty = nan},
        {.repetition_penalty = inf}}}};
  for (const auto& [name, list] : bad) {
    for (const SamplingOptions& options : list) {
      try {
        Sampler sampler(options, 5);
        ADD_FAILURE() << name << ": accepted";
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
        EXPECT_TRUE(std::string(error.what()).starts_with(name + ": got ")) << error.what();
      }
    }
  }
}

}  // namespace
}  // namespace pith
