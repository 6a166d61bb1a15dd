// RouteExperts by hand and against each router's rule; ExpertMlp against its formula in double, and
// the law that a row's bits do not depend on the rows beside it.
//
// Bound of ExpertMlp, with u = 2⁻²⁴, |·| of all that is summed, and H the sums of magnitudes that a
// hidden number is made of: products over `in` and over d numbers err by (in + 3) and (d + 3) u of
// these sums; silu's slope is below 1.1 and it errs by 12 u of its result, which is no larger than
// its input; relu² doubles a relative error. So an expert's result errs by (4 (in + 3) + d + 3 +
// 20) u of its sum of magnitudes, for at most two hidden products as factors, each with slope ≤ 2;
// the weight's product and the sum over the experts add chosen + 2.
#include "ops/experts.h"

#include <numeric>

#include "tests/ops/ops_testing.h"

namespace pith::ops_testing {
namespace {

class ExpertsTest : public ::testing::Test {};

Strided LogitsOf(const std::vector<std::vector<float>>& rows) {
  Strided logits(static_cast<int64_t>(rows.size()), static_cast<int64_t>(rows[0].size()));
  for (size_t r = 0; r < rows.size(); ++r) {
    std::copy(rows[r].begin(), rows[r].end(), logits.view().Row(static_cast<int64_t>(r)));
  }
  return logits;
}

struct Choice {
  std::vector<int32_t> experts;
  std::vector<double> weights;
};

void ExpectChoice(const Routing& routing, int64_t row, const Choice& expected) {
  const size_t k = expected.experts.size();
  const auto experts = std::span(routing.experts).subspan(row * k, k);
  EXPECT_EQ(std::vector<int32_t>(experts.begin(), experts.end()), expected.experts);
  for (size_t i = 0; i < k; ++i) {
    EXPECT_NEAR(routing.shares[row * k + i], expected.weights[i], 2e-7) << "expert " << experts[i];
  }
}

double Sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

TEST_F(ExpertsTest, SoftmaxOfTheChosen) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const Strided logits = LogitsOf({{1, 3, 2, 3}, {0, 0, 0, 0}, {5, nan, -9, -7}});
  for (const Exec& exec : ReferenceAndTested({1, 3})) {
    Routing routing;
    RouteExperts(exec, {.logits = logits.view(), .chosen = 2}, routing);
    ExpectChoice(routing, 0, {{1, 3}, {0.5, 0.5}});
    ExpectChoice(routing, 1, {{0, 1}, {0.5, 0.5}});  // of equals the lower ones
    ExpectChoice(routing, 2, {{0, 3}, {1 / (1 + std::exp(-12)), 1 / (1 + std::exp(12))}});
    EXPECT_EQ(routing.begin, (std::vector<int64_t>{0, 2, 4, 4, 6}));
    EXPECT_EQ(routing.rows, (std::vector<int32_t>{1, 2, 0, 1, 0, 2}));
    EXPECT_EQ(routing.count(), 4);
  }
}

TEST_F(ExpertsTest, SoftmaxOfAll) {
  const Strided logits = LogitsOf({{1, 3, 2, 0}});
  const double sum = std::exp(1) + std::exp(3) + std::exp(2) + 1;
  Routing routing;
  const RouteExpertsArgs args = {
      .kind = RouterKind::kSoftmaxOfAll, .logits = logits.view(), .chosen = 2};
  RouteExperts(Tested(), args, routing);
  ExpectChoice(routing, 0, {{1, 2}, {std::exp(3) / sum, std::exp(2) / sum}});
  RouteExpertsArgs normalised = args;
  normalised.normalise = true;
  normalised.scale = 2.5f;
  RouteExperts(Tested(), normalised, routing);
  ExpectChoice(routing, 0, {{1, 2}, {2.5 * Sigmoid(1), 2.5 * Sigmoid(-1)}});
}

// The correction decides who is chosen, and is no part of the weight.
TEST_F(ExpertsTest, SigmoidWithCorrection) {
  const Strided logits = LogitsOf({{2, 1, 0, -1}});
  const std::vector<float> correction = {0, -1, 0, 1};
  RouteExpertsArgs args = {
      .kind = RouterKind::kSigmoid, .logits = logits.view(), .chosen = 2, .correction = correction};
  Routing routing;
  RouteExperts(Tested(), args, routing);
  ExpectChoice(routing, 0, {{0, 3}, {Sigmoid(2), Sigmoid(-1)}});
  args.normalise = true;
  args.scale = 2;
  RouteExperts(Tested(), args, routing);
  const double sum = Sigmoid(2) + Sigmoid(-1);
  ExpectChoice(routing, 0, {{0, 3}, {2 * Sigmoid(2) / sum, 2 * Sigmoid(-1) / sum}});
}

// A group is as good as its two best together, so the one with the single best may stay out.
TEST_F(ExpertsTest, SigmoidWithGroups) {
  const Strided logits =
      LogitsOf({{4, -4, -5, 1, 1, 1, 0.5f, 0.5f, 3}, {0, 0, 0, 0, 0, 0, 0, 0, 0}});
  Routing routing;
  RouteExpertsArgs args = {.kind = RouterKind::kSigmoid,
                           .logits = logits.view(),
                           .chosen = 3,
                           .groups = 3,
                           .chosen_groups = 1};
  RouteExperts(Tested(), args, routing);
  ExpectChoice(routing, 0, {{6, 7, 8}, {Sigmoid(0.5), Sigmoid(0.5), Sigmoid(3)}});
  ExpectChoice(routing, 1, {{0, 1, 2}, {0.5, 0.5, 0.5}});
  args.chosen_groups = 2;
  RouteExperts(Tested(), args, routing);
  ExpectChoice(routing, 0, {{3, 4, 8}, {Sigmoid(1), Sigmoid(1), Sigmoid(3)}});
}

TEST_F(ExpertsTest, EveryRowGoesToAsManyExpertsAsItShould) {
  Random random(3);
  for (const auto& [experts, chosen] : {std::pair{1, 1}, {7, 7}, {62, 6}, {128, 1}}) {
    const Strided logits(random, 257, experts, -5, 5);
    Routing one, several;
    RouteExperts(Tested(1), {.logits = logits.view(), .chosen = chosen}, one);
    RouteExperts(Tested(3), {.logits = logits.view(), .chosen = chosen}, several);
    EXPECT_EQ(one.rows, several.rows);
    ExpectSameBits(one.weights, several.weights);
    ASSERT_EQ(static_cast<int64_t>(one.rows.size()), 257 * chosen);
    std::vector<double> sums(257, 0.0);
    std::vector<int64_t> counts(257, 0);
    for (int64_t e = 0; e < experts; ++e) {
      for (int64_t i = one.begin[e]; i < one.begin[e + 1]; ++i) {
        ASSERT_TRUE(i == one.begin[e] || one.rows[i] > one.rows[i - 1]) << "expert " << e;
        sums[one.rows[i]] += one.weights[i];
        ++counts[one.rows[i]];
      }
    }
    for (int64_t r = 0; r < 257; ++r) {
      EXPECT_EQ(counts[r], chosen);
      EXPECT_NEAR(sums[r], 1, chosen * kRounding);
    }
  }
}

TEST_F(ExpertsTest, AddScaledRowsAgreesWithReference) {
  Random random(4);
  for (const int64_t cols : kSizes) {
    const Strided x(random, 7, cols), before(random, 9, cols);
    Shared<int32_t> rows = {8, 0, 3, 1, 7, 2, 5};
    const Shared<float> weights = random.Vector(7);
    const auto run = [&](const Exec& exec) {
      Strided out = before;
      AddScaledRows(
          exec,
          {.x = x.view(), .rows = {rows.data(), 7}, .weights = Vec(weights), .out = out.view()});
      exec.backend->Synchronize(exec.queue);
      return out;
    };
    const Strided expected = run(kReference);
    ExpectNear(run(Tested(2)), expected, [&](int64_t r, int64_t c) {
      const auto at = std::find(rows.begin(), rows.end(), r) - rows.begin();
      if (at == 7) return 0.0;
      return 3 * kRounding * (std::abs(before.At(r, c)) + std::abs(weights[at] * x.At(at, c)));
    });
  }
}

struct Mixture {
  Mixture(uint32_t seed, int64_t experts, int64_t chosen, Activation activation, bool gated)
      : random(seed),
        chosen(chosen),
        activation(activation),
        gated(gated),
        x(random, kRows, kIn),
        logits(random, kRows, experts, -3, 3) {
    for (int64_t e = 0; e < experts; ++e) {
      gate.push_back(random.Vector(kHidden * kIn));
      up.push_back(random.Vector(kHidden * kIn));
      down.push_back(random.Vector(kOut * kHidden));
    }
  }

  // Rows [begin, begin + count), added to `out` or in its place.
  Strided Run(const Exec& exec, int64_t begin, int64_t count, bool step, const Strided* add) const {
    Routing routing;
    RouteExperts(exec, {.logits = logits.view().Rows(begin, count), .chosen = chosen}, routing);
    std::vector<Weight> prepared;
    std::vector<ExpertWeights> experts;
    for (size_t e = 0; e < up.size(); ++e) {
      prepared.push_back(Prepare(exec, gate[e], kHidden, kIn));
      prepared.push_back(Prepare(exec, up[e], kHidden, kIn));
      prepared.push_back(Prepare(exec, down[e], kOut, kHidden));
      experts.push_back({.gate = gated ? prepared[3 * e].view() : WeightView(),
                         .up = prepared[3 * e + 1].view(),
                         .down = prepared[3 * e + 2].view()});
    }
    Shared<int32_t> order(count * chosen);
    Shared<float> weights(count * chosen);
    Strided gathered(count, kIn), gates(count, kHidden), ups(count, kHidden), product(count, kOut);
    Strided out(count, kOut, add == nullptr ? 0 : 5);
    for (int64_t r = 0; r < count; ++r) {
      for (int64_t c = 0; c < kOut; ++c) out.view().Row(r)[c] = add ? add->At(begin + r, c) : 7.0f;
    }
    ExpertMlp(exec, {.x = x.view().Rows(begin, count),
                     .routing = &routing,
                     .experts = experts,
                     .activation = activation,
                     .step = step,
                     .order = {order.data(), count * chosen},
                     .weights = {weights.data(), count * chosen},
                     .gathered = gathered.view(),
                     .gate = gates.view(),
                     .up = ups.view(),
                     .product = product.view(),
                     .add = add != nullptr,
                     .out = out.view()});
    exec.backend->Synchronize(exec.queue);
    out.CheckPadding();
    return out;
  }

  double Activated(double v) const {
    if (activation == Activation::kReluSquared) return v > 0 ? v * v : 0;
    return v * Sigmoid(v);
  }

  // The formula, and the sum of magnitudes.
  std::pair<double, double> At(const Routing& routing, int64_t row, int64_t column) const {
    double value = 0, size = 0;
    for (int64_t i = 0; i < chosen; ++i) {
      const int32_t e = routing.experts[row * chosen + i];
      const double weight = routing.shares[row * chosen + i];
      for (int64_t h = 0; h < kHidden; ++h) {
        double g = 0, u = 0, g_size = 0, u_size = 0;
        for (int64_t k = 0; k < kIn; ++k) {
          const double g_term = static_cast<double>(gate[e][h * kIn + k]) * x.At(row, k);
          const double u_term = static_cast<double>(up[e][h * kIn + k]) * x.At(row, k);
          g += g_term;
          u += u_term;
          g_size += std::abs(g_term);
          u_size += std::abs(u_term);
        }
        const double hidden = gated ? Activated(g) * u : Activated(u);
        const double hidden_size = gated                             ? g_size * u_size
                                   : activation == Activation::kSilu ? u_size
                                                                     : u_size * u_size;
        const double w = down[e][column * kHidden + h];
        value += weight * w * hidden;
        size += weight * std::abs(w) * hidden_size;
      }
    }
    return {value, size};
  }

  static constexpr int64_t kRows = 33, kIn = 20, kHidden = 17, kOut = 19;
  Random random;
  int64_t chosen;
  Activation activation;
  bool gated;
  Strided x, logits;
  std::vector<Shared<float>> gate, up, down;
};

void Compare(int64_t experts, int64_t chosen, Activation activation, bool gated) {
  SCOPED_TRACE(StrCat("experts ", experts, ", chosen ", chosen, ", activation ",
                      static_cast<int>(activation), gated ? ", gated" : ""));
  const Mixture m(static_cast<uint32_t>(experts * 7 + chosen), experts, chosen, activation, gated);
  Routing routing;
  RouteExperts(kReference, {.logits = m.logits.view(), .chosen = chosen}, routing);
  const double units =
      4 * (Mixture::kIn + 3) + Mixture::kHidden + 3 + 20 + static_cast<double>(chosen) + 2;
  for (const Exec& exec : ReferenceAndTested({2})) {
    const Strided out = m.Run(exec, 0, Mixture::kRows, false, nullptr);
    for (int64_t r = 0; r < Mixture::kRows; ++r) {
      for (int64_t c = 0; c < Mixture::kOut; ++c) {
        const auto [value, size] = m.At(routing, r, c);
        ASSERT_NEAR(out.At(r, c), value, units * kRounding * size)
            << "row " << r << ", column " << c;
      }
    }
  }
}

TEST_F(ExpertsTest, MlpIsTheFormula) {
  Compare(1, 1, Activation::kSilu, true);
  Compare(6, 2, Activation::kSilu, true);
  Compare(6, 6, Activation::kReluSquared, false);
  Compare(9, 3, Activation::kSilu, false);
}

TEST_F(ExpertsTest, RowsDoNotDependOnTheirBatch) {
  const Mixture m(8, 9, 3, Activation::kSilu, true);
  Random random(9);
  const Strided shared(random, Mixture::kRows, Mixture::kOut);
  for (const bool step : {false, true}) {
    for (const Strided* add : {static_cast<const Strided*>(nullptr), &shared}) {
      const Strided whole = m.Run(Tested(1), 0, Mixture::kRows, step, add);
      ExpectSameBits(m.Run(Tested(3), 0, Mixture::kRows, step, add).view(), whole.view());
      for (const auto& [begin, count] : {std::pair{0, 1}, {5, 1}, {3, 20}, {30, 3}}) {
        ExpectSameBits(m.Run(Tested(2), begin, count, step, add).view(),
                       whole.view().Rows(begin, count));
      }
    }
  }
}

}  // namespace
}  // namespace pith::ops_testing
