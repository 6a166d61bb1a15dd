// ScoreLabels against the reference, to the bound of its contract: 1e-6 · (1 + |logprob|), and
// ScoreHead against the reference's composition.
//
// Bound of ScoreHead: logits err by e, what linear_test derives for a product; a log-probability is
// a logit less a mean of logits in the exponent, so it errs by 2 e more than ScoreLabels does on
// either side. The likeliest label's logit is within 2 e of the largest. Small integers multiply
// without a rounding: there it is the largest itself.
#include "ops/log_softmax.h"

#include <limits>

#include "ops/kernels.h"
#include "ops/linear.h"
#include "tests/ops/ops_testing.h"

namespace pith::ops_testing {
namespace {

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

TEST_F(LogSoftmaxTest, LargestLogitsInOrder) {
  Shared<float> logits(100, 0.0f);
  logits[80] = logits[37] = 3;
  logits[5] = 4;
  logits[99] = -1;
  const MatView<const float> row{logits.data(), 1, 100};
  EXPECT_EQ(LargestLogits(Tested(), row, 4), (std::vector<int32_t>{5, 37, 80, 0}));
  EXPECT_TRUE(LargestLogits(Tested(), row, 0).empty());
  const std::vector<int32_t> all = LargestLogits(Tested(), row, 1000);
  EXPECT_EQ(all.size(), 100u);
  EXPECT_EQ(all.back(), 99);
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

// Rows to score against a head, whose logits the reference knows.
struct HeadCase {
  HeadCase(int64_t rows, int64_t vocab, int64_t depth, bool integers = false)
      : random(static_cast<uint32_t>(rows * 31 + vocab + depth)),
        depth(depth),
        x(random, rows, depth, -3, 3),
        w(random.Vector(vocab * depth)),
        labels(rows) {
    for (int32_t& label : labels) {
      label = static_cast<int32_t>(random.Uniform(0, 1) * static_cast<float>(vocab));
    }
    if (!integers) return;
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < depth; ++c) x.view().Row(r)[c] = std::round(x.At(r, c));
    }
    for (float& v : w) v = std::round(3 * v);
  }

  int64_t rows() const { return static_cast<int64_t>(labels.size()); }
  int64_t vocab() const { return static_cast<int64_t>(w.size()) / depth; }
  std::vector<LabelScore> Scores(const Exec& exec, int64_t begin, int64_t count) const {
    const Weight head = Prepare(exec, w, vocab(), depth);
    std::vector<LabelScore> out(count);
    DeviceMat<float> logits;
    ScoreHead(exec, {.x = x.view().Rows(begin, count),
                     .w = head.view(),
                     .labels = std::span(labels).subspan(begin, count),
                     .logits = &logits,
                     .out = out});
    EXPECT_LE(logits.rows(), 256);
    return out;
  }
  std::vector<LabelScore> Scores(const Exec& exec) const { return Scores(exec, 0, rows()); }
  Strided Logits(const Exec& exec) const {
    Strided logits(rows(), vocab());
    Linear(exec, x.view(), Prepare(exec, w, vocab(), depth).view(), {}, logits.view());
    return logits;
  }
  // The most that a logit of row r errs by, where the head is prepared as `head`.
  double Error(int64_t r, const WeightView& head) const {
    double most = 0;
    for (int64_t c = 0; c < vocab(); ++c) {
      double sum = 0;
      for (int64_t k = 0; k < depth; ++k) sum += std::abs(1.01 * x.At(r, k) * w[c * depth + k]);
      most = std::max(most, sum);
    }
    return ProductBound(head, depth, most, 3);
  }

  Random random;
  int64_t depth;
  Strided x;
  Shared<float> w;
  std::vector<int32_t> labels;
};

Exec At(Exec exec, Precision precision) {
  exec.precision = precision;
  return exec;
}
constexpr Precision kPrecisions[] = {Precision::kF32, Precision::kBF16};

void CompareHead(const HeadCase& c, Precision precision) {
  SCOPED_TRACE(StrCat("rows ", c.rows(), ", vocab ", c.vocab(), ", d_model ", c.depth,
                      precision == Precision::kBF16 ? ", bf16" : ", f32"));
  const Exec tested = At(Tested(2), precision);
  const Weight head = Prepare(tested, c.w, c.vocab(), c.depth);
  const Exec reference = At(kReference, MultipliesF16(head.view()) ? Precision::kF32 : precision);
  const std::vector<LabelScore> expected = c.Scores(reference);
  const std::vector<LabelScore> out = c.Scores(tested);
  const Strided logits = c.Logits(reference);
  for (int64_t r = 0; r < c.rows(); ++r) {
    const double e = 2 * c.Error(r, head.view());
    const auto bound = [&](float logprob) { return e + 2e-6 * (1 + std::abs(logprob)); };
    ASSERT_NEAR(out[r].logprob, expected[r].logprob, bound(expected[r].logprob)) << "row " << r;
    ASSERT_NEAR(out[r].top_logprob, expected[r].top_logprob, bound(expected[r].top_logprob));
    ASSERT_GE(logits.At(r, out[r].top), logits.At(r, expected[r].top) - e);
    if (out[r].top == c.labels[r]) {
      ASSERT_EQ(out[r].logprob, out[r].top_logprob);
    }
  }
}

TEST_F(LogSoftmaxTest, HeadAgreesWithReference) {
  for (const Precision precision : kPrecisions) {
    for (const int64_t vocab : {1, 33, 4095, 4096, 4097, 9001}) {
      CompareHead(HeadCase(3, vocab, 40), precision);
    }
    CompareHead(HeadCase(257, 100, 37), precision);
    CompareHead(HeadCase(2050, 65, 8), precision);
  }
}

// Integers of three bits in 16 columns: their products and sums are exact in every precision.
TEST_F(LogSoftmaxTest, HeadsTiesGoToTheLowerIndex) {
  for (const Precision precision : kPrecisions) {
    for (const auto& [low, high] : {std::pair{0, 8999}, {4095, 4096}, {4097, 8192}, {70, 71}}) {
      HeadCase c(5, 9000, 16, /*integers=*/true);
      for (int64_t k = 0; k < 16; ++k) {  // beyond what other rows reach
        for (const int64_t at : {low, high}) c.w[at * 16 + k] = k == 0 ? 64.0f : 0.0f;
      }
      for (int64_t r = 0; r < 5; ++r) c.x.view().Row(r)[0] = 3;
      c.labels[0] = high;
      const Strided logits = c.Logits(At(kReference, precision));
      const auto out = c.Scores(At(Tested(), precision));
      const auto expected = c.Scores(At(kReference, precision));
      for (int64_t r = 0; r < 5; ++r) {
        ASSERT_EQ(logits.At(r, low), 192);
        EXPECT_EQ(out[r].top, low);
        EXPECT_NEAR(out[r].logprob, expected[r].logprob, 2e-6 * (1 - expected[r].logprob));
      }
      EXPECT_EQ(out[0].logprob, out[0].top_logprob);
    }
  }
}

TEST_F(LogSoftmaxTest, HeadsRowsDoNotDependOnTheirBatch) {
  const HeadCase c(300, 9001, 64);
  for (const Precision precision : kPrecisions) {
    const auto whole = c.Scores(At(Tested(2), precision));
    for (const auto& [begin, count] : {std::pair{0, 1}, {7, 1}, {255, 2}, {31, 200}, {299, 1}}) {
      const auto part = c.Scores(At(Tested(), precision), begin, count);
      for (int64_t i = 0; i < count; ++i) {
        EXPECT_EQ(part[i].logprob, whole[begin + i].logprob);
        EXPECT_EQ(part[i].top_logprob, whole[begin + i].top_logprob);
        EXPECT_EQ(part[i].top, whole[begin + i].top);
      }
    }
  }
}

TEST_F(LogSoftmaxTest, WithoutAKernelHeadIsLinearAndScoreLabels) {
  const HeadCase c(300, 700, 40);
  for (const Exec& exec : ReferenceAndTested({1, 2})) {
    if (KernelsFor(exec).score_head != nullptr) continue;
    std::vector<LabelScore> expected(c.rows());
    ScoreLabels(exec, c.Logits(exec).view(), c.labels, expected);
    const auto out = c.Scores(exec);
    for (int64_t r = 0; r < c.rows(); ++r) {
      EXPECT_EQ(out[r].logprob, expected[r].logprob);
      EXPECT_EQ(out[r].top_logprob, expected[r].top_logprob);
      EXPECT_EQ(out[r].top, expected[r].top);
    }
  }
}

TEST_F(LogSoftmaxTest, ALabelOutsideTheVocabularyIsABug) {
  HeadCase c(2, 10, 4);
  c.labels[1] = 10;
  EXPECT_THROW(c.Scores(kReference), Error);
}

}  // namespace
}  // namespace pith::ops_testing
