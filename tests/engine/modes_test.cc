// Scoring modes: which row is scored against which label, on cases worked out by hand from the
// published code's slice rows[end − c : end]; and on models, that the modes agree where they must:
// with nothing removed all of them score what `context` scores, and with rows gone from the front
// alone the published alignment is the true one.

#include "score/modes.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "pith/engine.h"
#include "tests/engine/tiny_checkpoint.h"

namespace pith {

void PrintTo(const RowLabel& pair, std::ostream* out) {
  *out << "(row " << pair.row << ", label " << pair.label << ")";
}

namespace {

using testing::ErrorOf;
using testing::RandomIds;
using Pairs = std::vector<RowLabel>;

TEST(PairSurvivors, RowsKeepTheirPositions) {
  // Ten tokens; positions 7, 8, 9 predict the three labels. 8 is gone, 0 and 3 predict context.
  const std::vector<int32_t> positions = {0, 3, 7, 9};
  EXPECT_EQ(PairSurvivors(positions, 10, 3), (Pairs{{2, 0}, {3, 2}}));
  EXPECT_EQ(PairSurvivors(positions, 12, 2), Pairs{});
}

TEST(PairPublishedTail, RightWhereRowsGoFromTheFront) {
  EXPECT_EQ(PairPublishedTail(10, 0, 10, 3), (Pairs{{7, 0}, {8, 1}, {9, 2}}));
  EXPECT_EQ(PairPublishedTail(8, 2, 10, 3), (Pairs{{5, 0}, {6, 1}, {7, 2}}));
  // Padded to 20, 4 gone, 16 left: as if all four had been this pair's.
  EXPECT_EQ(PairPublishedTail(16, 4, 10, 3), (Pairs{{3, 0}, {4, 1}, {5, 2}}));
}

TEST(PairPublishedTail, NegativeBoundsCountFromTheEnd) {
  // Unpadded, more labels than rows: end 4, rows[4 − 6 : 4] = rows[2:4], the last c − end rows,
  // against the first labels.
  EXPECT_EQ(PairPublishedTail(4, 6, 10, 6), (Pairs{{2, 0}, {3, 1}}));
  // Padded to 40 with 12 gone, 28 left; 14 tokens: rows[2 − 3 : 2] = rows[27:2], empty.
  EXPECT_EQ(PairPublishedTail(28, 12, 14, 3), Pairs{});
  // 12 tokens: rows[−3:0], empty.
  EXPECT_EQ(PairPublishedTail(28, 12, 12, 3), Pairs{});
  // 10 tokens: rows[−5:−2], padding's rows.
  EXPECT_EQ(PairPublishedTail(28, 12, 10, 3), (Pairs{{23, 0}, {24, 1}, {25, 2}}));
  // rows[−1 : 3] of 4 rows is row 3's place on: empty; rows[−9 : 3] begins at the first.
  EXPECT_EQ(PairPublishedTail(4, 7, 10, 4), Pairs{});
  EXPECT_EQ(PairPublishedTail(4, 7, 10, 12), (Pairs{{0, 0}, {1, 1}, {2, 2}}));
}

TEST(PairPaperFirst, FirstLabelsAgainstLastRows) {
  EXPECT_EQ(PairPaperFirst(10, 10, 2), (Pairs{{8, 0}, {9, 1}}));
  EXPECT_EQ(PairPaperFirst(7, 10, 4), (Pairs{{5, 0}, {6, 1}}));  // ⌊.7 · 4⌋ = 2
  EXPECT_EQ(PairPaperFirst(1, 10, 4), (Pairs{{0, 0}}));          // one at least
}

TEST(ScoringModes, Names) {
  for (const char* name : {"context", "survivors", "published-tail", "paper-first"}) {
    EXPECT_EQ(ScoringModeName(ParseScoringMode(name)), name);
  }
  const std::string message = ErrorOf([] { ParseScoringMode("tail"); });
  EXPECT_NE(message.find("published-tail"), message.npos) << message;
}

class Modes : public testing::BothKinds {
 protected:
  std::vector<ScoreResult> Run(const std::vector<ScoreItem>& items, const std::string& reduce,
                               ScoringMode mode, int64_t padded_batch = 16) {
    return engine_.Score(items, {.reduction = engine_.Compile(reduce),
                                 .mode = mode,
                                 .padded_batch = padded_batch,
                                 .logprobs = true});
  }
};

std::vector<ScoreItem> Items() {
  std::vector<ScoreItem> items;
  for (const int64_t length : {90, 64, 40, 120}) {
    items.push_back({RandomIds(length, length), RandomIds(length / 8, 300 + length)});
  }
  items.push_back({{}, RandomIds(50, 9)});
  return items;
}

// The same sums in another order of chunks: 1e-4 a token is far above float32's rounding of these
// models' logits, and far below the difference of any two tokens' log-likelihoods here.
TEST_P(Modes, WithNothingRemovedAllScoreTheSame) {
  const auto expected = Run(Items(), "none", ScoringMode::kContext);
  for (const ScoringMode mode :
       {ScoringMode::kSurvivors, ScoringMode::kPublishedTail, ScoringMode::kPaperFirst}) {
    const auto results = Run(Items(), "none", mode);
    for (size_t i = 0; i < results.size(); ++i) {
      SCOPED_TRACE(std::string(ScoringModeName(mode)) + " " + std::to_string(i));
      ASSERT_EQ(results[i].tokens, expected[i].tokens);
      for (int64_t t = 0; t < expected[i].tokens; ++t) {
        EXPECT_EQ(results[i].token_logprobs[t].id, expected[i].token_logprobs[t].id);
        EXPECT_NEAR(results[i].token_logprobs[t].logprob, expected[i].token_logprobs[t].logprob,
                    1e-4);
      }
      EXPECT_EQ(results[i].greedy, expected[i].greedy);
    }
  }
}

TEST_P(Modes, FrontRemovalMakesThePublishedAlignmentTrue) {
  for (const char* reduce : {"truncate@30%", "prefix-drop@20%"}) {
    const auto survivors = Run(Items(), reduce, ScoringMode::kSurvivors);
    const auto published = Run(Items(), reduce, ScoringMode::kPublishedTail, 1);
    for (size_t i = 0; i + 1 < survivors.size(); ++i) {  // the last is all continuation
      EXPECT_EQ(survivors[i].logprob, published[i].logprob) << reduce << i;
      EXPECT_EQ(survivors[i].tokens, published[i].tokens) << reduce << i;
      EXPECT_LT(survivors[i].context_rows, survivors[i].context_tokens);
      EXPECT_GT(survivors[i].realised, 0);
    }
  }
}

TEST_P(Modes, SurvivorsCoverLessThanAllAndDoNotDependOnTheBatch) {
  const auto results = Run(Items(), "random@30%", ScoringMode::kSurvivors);
  int64_t scored = 0;
  int64_t labels = 0;
  for (size_t i = 0; i < results.size(); ++i) {
    const auto alone = Run({Items()[i]}, "random@30%", ScoringMode::kSurvivors);
    EXPECT_EQ(alone[0].logprob, results[i].logprob);
    scored += results[i].tokens;
    labels += static_cast<int64_t>(Items()[i].continuation.size());
  }
  EXPECT_LT(scored, labels);
  EXPECT_GT(scored, 0);
}

// Padding takes part: a short pair beside a long one loses its rows to it, and scores nothing.
TEST_P(Modes, PublishedTailPadsToTheLongestOfTheBatch) {
  const std::vector<ScoreItem> items = {{RandomIds(6, 1), RandomIds(3, 2)},
                                        {RandomIds(100, 3), RandomIds(20, 4)}};
  const auto together = Run(items, "prefix-drop@30%", ScoringMode::kPublishedTail, 2);
  const auto apart = Run(items, "prefix-drop@30%", ScoringMode::kPublishedTail, 1);
  EXPECT_EQ(together[0].context_tokens, together[1].context_tokens);
  EXPECT_EQ(apart[0].context_tokens, 8);
  EXPECT_NE(together[0].logprob, apart[0].logprob);
  EXPECT_EQ(together[1].logprob, apart[1].logprob);
  // An item that scores nothing is certain and right, as published.
  const int64_t left = together[0].context_rows;
  const Pairs pairs = PairPublishedTail(left, together[0].context_tokens - left, 8, 3);
  EXPECT_EQ(together[0].tokens, static_cast<int64_t>(pairs.size()));
  if (pairs.empty()) {
    EXPECT_EQ(together[0].logprob, 0);
    EXPECT_TRUE(together[0].greedy);
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, Modes, ::testing::Bool(),
                         [](const auto& kind) { return kind.param ? "mamba2" : "mamba1"; });

}  // namespace
}  // namespace pith
