// ScoreLabels against the reference, to the bound of its contract: 1e-6 · (1 + |logprob|).
#include "ops/log_softmax.h"

#include <limits>

#include "tests/ops/ops_testing.h"

namespace pith {
namespace {

using namespace ops_testing;

class LogSoftmaxTest : public ::testing::Test {};

void Compare(int64_t rows, int64_t vocab, float spread) {
  const uint32_t seed = rows * 101 + vocab;
  SCOPED_TRACE(StrCat("seed ", seed, ", rows ", rows, ", vocab ", vocab, ", spread ", spread));
  Random random(seed);
  const Strided logits(random, rows, vocab, -spread, spread);
  std::vector<int32_t> labels(rows);
  for (int32_t& label : labels) {
    label = std::min<int32_t>(vocab - 1, random.Uniform(0, static_cast<float>(vocab)));
  }
  std::vector<LabelScore> expected(rows), out(rows);
  ScoreLabels(kReference, logits.view(), labels, expected);
  ScoreLabels(Tested(2), logits.view(), labels, out);
  for (int64_t i = 0; i < rows; ++i) {
    EXPECT_NEAR(out[i].logprob, expected[i].logprob, 1e-6 * (1 + std::abs(expected[i].logprob)));
    EXPECT_NEAR(out[i].top_logprob, expected[i].top_logprob,
                1e-6 * (1 + std::abs(expected[i].top_logprob)));
    EXPECT_EQ(out[i].top, expected[i].top);
  }
}

TEST_F(LogSoftmaxTest, AgreesWithReference) {
  for (const int64_t vocab : kSizes) Compare(3, vocab, 10);
  for (const int64_t rows : kSizes) Compare(rows, 40, 10);
  Compare(2, 50280, 0.1f);
  Compare(2, 50280, 20);
  Compare(2, 50280, 1000);  // nearly all exponentials underflow
}

TEST_F(LogSoftmaxTest, TiesGoToTheLowerIndexAndTheTopScoresItself) {
  Shared<float> logits(100, 0.0f);
  logits[37] = logits[80] = 3;
  for (const int32_t label : {37, 80}) {
    LabelScore out;
    ScoreLabels(Tested(), {logits.data(), 1, 100}, std::span(&label, 1), std::span(&out, 1));
    EXPECT_EQ(out.top, 37);
    EXPECT_EQ(out.logprob, out.top_logprob);
  }
}

TEST_F(LogSoftmaxTest, RowsDoNotDependOnTheirBatch) {
  Random random(5);
  const Strided logits(random, 33, 9001);
  std::vector<int32_t> labels(33, 4);
  std::vector<LabelScore> whole(33);
  ScoreLabels(Tested(1), logits.view(), labels, whole);
  for (const int threads : {1, 2, 3}) {
    for (int64_t i = 0; i < 33; ++i) {
      LabelScore one;
      ScoreLabels(Tested(threads), logits.view().Rows(i, 1), std::span(&labels[i], 1),
                  std::span(&one, 1));
      EXPECT_EQ(one.logprob, whole[i].logprob);
      EXPECT_EQ(one.top_logprob, whole[i].top_logprob);
      EXPECT_EQ(one.top, whole[i].top);
    }
  }
}

}  // namespace
}  // namespace pith
