// Engine::Measure and Engine::FromShape: the shapes are those of the published weights, counted
// from the papers' layers by formulas of this file's own; rows say what was read, under which
// reduction, and what memory it took. No test looks at how long anything took beyond its being
// there.
#include "pith/bench.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "core/error.h"
#include "load/drawn_tensors.h"
#include "load/published_shapes.h"
#include "ops/backends.h"
#include "pith/engine.h"
#include "tests/engine/tiny_checkpoint.h"

namespace pith {
namespace {

using testing::ErrorOf;

// The tensors of a layer but its norm, from the figures of the papers.
int64_t CountParameters(const Mamba1Config& c, int64_t d) {
  return 3 * c.d_inner * d + c.d_inner * 5 +                // projections, convolution
         (2 * c.dt_rank + 2 * c.d_state + 1) * c.d_inner +  // x_proj, dt_proj
         (c.d_state + 1) * c.d_inner;                       // A, D
}
int64_t CountParameters(const Mamba2Config& c, int64_t d) {
  const int64_t channels = c.d_inner + 2 * c.n_groups * c.d_state;
  return (2 * c.d_inner + channels + c.n_heads) * d + channels * 5 +  // projections, convolution
         3 * c.n_heads + c.d_inner;                                   // Δ's bias, A, D, norm
}
int64_t CountParameters(const AttentionConfig& c, int64_t d) {
  return 2 * (c.q_width() + c.kv_width()) * d;
}
int64_t CountParameters(const MlpConfig& c, int64_t d) {
  return (c.gated ? 3 : 2) * c.d_hidden * d;
}

// Every tensor of a checkpoint.
int64_t CountParameters(const ModelConfig& c) {
  int64_t count = c.vocab_size * c.d_model * (c.tie_embeddings ? 1 : 2) + c.d_model;
  for (const LayerConfig& layer : c.layers) {
    count += c.d_model;
    std::visit(
        [&]<class Config>(const Config& config) {
          if constexpr (requires { CountParameters(config, c.d_model); }) {
            count += CountParameters(config, c.d_model);
          } else {
            ADD_FAILURE() << "no published shape has such a layer";
          }
        },
        layer);
  }
  return count;
}

// What the tensors of each add up to.
TEST(Shapes, HaveTheNumbersOfParametersOfTheirNames) {
  const std::map<std::string, int64_t> published = {
      {"mamba-130m", 129135360},         {"mamba-370m", 371516416},
      {"mamba-790m", 793204224},         {"mamba-1.4b", 1372178432},
      {"mamba-2.8b", 2768345600},        {"mamba2-130m", 128989632},
      {"mamba2-370m", 368346624},        {"mamba2-780m", 780161280},
      {"mamba2-1.3b", 1343757312},       {"mamba2-2.7b", 2702599680},
      {"falcon-mamba-7b", 7272665088},   {"codestral-7b", 7285403648},
      {"granite-4.0-h-350m", 339814112}, {"granite-4.0-h-1b", 1461538368}};
  const std::vector<std::string> names = ListShapes();
  EXPECT_EQ(names.size(), published.size());
  for (const std::string& name : names) {
    ASSERT_TRUE(published.contains(name)) << name;
    EXPECT_EQ(CountParameters(PublishedShape(name)), published.at(name)) << name;
  }
}

TEST(Shapes, BuildModelsOfThatSize) {
  for (const char* name : {"mamba-130m", "mamba2-130m"}) {
    const Engine engine = Engine::FromShape(name, {.device = testing::DeviceName()});
    EXPECT_EQ(engine.info().parameters, CountParameters(PublishedShape(name))) << name;
    EXPECT_EQ(engine.info().n_layer, 24);
    EXPECT_FALSE(engine.info().end_of_text.has_value());
    // Its numbers are sane: a pass that breaks gives no logarithms.
    const PerplexityResult result = engine.Perplexity(std::vector<int32_t>{1, 2, 3, 4, 5, 6, 7, 8});
    EXPECT_TRUE(std::isfinite(result.nll) && result.nll > 0) << name;
    EXPECT_LT(result.nll, 100) << name;
  }
}

TEST(Shapes, RefuseWhatIsUnknown) {
  const std::string message = ErrorOf([] { Engine::FromShape("mamba-130k"); });
  for (const char* part :
       {"shape: got 'mamba-130k'", "mamba2-2.7b", "codestral-7b", "did you mean 'mamba-130m'?"}) {
    EXPECT_NE(message.find(part), std::string::npos) << message;
  }
  const std::string weights = ErrorOf([] { Engine::FromShape("mamba-130m", {}, "int8"); });
  EXPECT_NE(weights.find("weights: got 'int8', expected one of f32, bf16"), std::string::npos)
      << weights;
}

TEST(DrawnTensors, AreTheSameForAnyNumberOfThreads) {
  const int64_t rows = 700, cols = 1001;  // several pieces and a tail
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    DrawnTensors one(dtype, 1), many(dtype, 5);
    const StoredMatrix a = one.Matrix("w", rows, cols), b = many.Matrix("w", rows, cols);
    EXPECT_EQ(std::memcmp(a.data, b.data, a.bytes()), 0);
    const StoredMatrix other = many.Matrix("v", rows, cols);
    EXPECT_NE(std::memcmp(b.data, other.data, b.bytes()), 0);
    EXPECT_EQ(many.parameters(), 2 * rows * cols);
  }
}

// Mean 0 and variance 1 / cols, to five standard errors of a uniform distribution.
TEST(DrawnTensors, HaveTheVarianceOfTrainedOnes) {
  const int64_t rows = 256, cols = 512, count = rows * cols;
  DrawnTensors tensors(DType::kF32, 2);
  const StoredMatrix w = tensors.Matrix("w", rows, cols);
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < count; ++i) {
    const double value = static_cast<const float*>(w.data)[i];
    sum += value;
    squares += value * value;
  }
  const double variance = 1.0 / cols;
  EXPECT_LT(std::abs(sum / count), 5 * std::sqrt(variance / count));
  // The fourth moment of a uniform distribution is 9/5 of its squared variance.
  EXPECT_LT(std::abs(squares / count - variance), 5 * variance * std::sqrt(0.8 / count));
}

class BenchTest : public testing::BothKinds {};

BenchCase Case(const Engine& engine, const std::string& reduce, int64_t prompt, int64_t batch,
               int64_t decode) {
  return {.reduction = engine.Compile(reduce), .prompt = prompt, .batch = batch, .decode = decode};
}

TEST_P(BenchTest, RowsSayWhatWasMeasured) {
  const std::vector<BenchCase> cases = {
      Case(engine_, "none", 40, 1, 3), Case(engine_, "utrc@20%", 40, 3, 3),
      Case(engine_, "none", 120, 3, 0), Case(engine_, "skim:window=32,chunk=16", 120, 2, 1)};
  const BenchReport report = engine_.Measure(cases, {.repeats = 2, .rates = false});
  EXPECT_TRUE(report.complete);
  EXPECT_FALSE(report.rates.has_value());
  EXPECT_GE(report.threads, 1);
  ASSERT_EQ(report.rows.size(), cases.size());
  for (size_t i = 0; i < cases.size(); ++i) {
    const BenchRow& row = report.rows[i];
    SCOPED_TRACE(row.reduce);
    EXPECT_EQ(row.reduce, cases[i].reduction.text());
    EXPECT_EQ(row.applied, row.reduce);
    EXPECT_EQ(row.prompt, cases[i].prompt);
    EXPECT_EQ(row.batch, cases[i].batch);
    EXPECT_EQ(row.decode, cases[i].decode);
    EXPECT_EQ(row.prefill_ms.size(), 2);
    EXPECT_EQ(row.decode_ms.size(), cases[i].decode > 0 ? 2 : 0);
    EXPECT_GT(row.PrefillTokensPerSecond(), 0);
    EXPECT_EQ(row.DecodeTokensPerSecond().has_value(), cases[i].decode > 0);
    EXPECT_EQ(row.GenerateMs().has_value(), cases[i].decode > 0);
    EXPECT_GT(row.prefill_gflop, 0);
    const BenchMemory& memory = row.memory;
    EXPECT_EQ(memory.states, row.batch * engine_.info().state_bytes);
    EXPECT_GE(memory.weights, engine_.info().parameters * 2);
    EXPECT_GE(memory.peak, memory.weights + memory.states);
    EXPECT_LE(memory.peak, memory.weights + memory.states + memory.scratch + memory.stream);
  }
}

TEST_P(BenchTest, RealisedIsWhatThePlanSays) {
  const std::vector<BenchCase> cases = {Case(engine_, "none", 100, 2, 0),
                                        Case(engine_, "utrc@30%", 100, 2, 0)};
  const BenchReport report = engine_.Measure(cases, {.repeats = 1, .rates = false});
  EXPECT_EQ(report.rows[0].realised, 0);
  EXPECT_EQ(report.rows[0].rows_left, 200);
  const PlanReport plan = engine_.Plan(100, cases[1].reduction);
  EXPECT_DOUBLE_EQ(report.rows[1].realised, plan.realised);
  EXPECT_EQ(report.rows[1].rows_left, 2 * plan.sites.back().out);
  EXPECT_NEAR(report.rows[1].prefill_gflop / report.rows[0].prefill_gflop, 1 - plan.realised,
              1e-12);
}

// What a row says of its memory does not depend on the rows around it.
TEST_P(BenchTest, MemoryIsTheRowsOwn) {
  const BenchCase small = Case(engine_, "none", 16, 1, 1);
  const BenchOptions once{.repeats = 1, .rates = false};
  const BenchMemory alone = engine_.Measure({&small, 1}, once).rows[0].memory;
  const std::vector<BenchCase> both = {Case(engine_, "none", 500, 4, 1), small};
  const BenchReport report = engine_.Measure(both, once);
  EXPECT_EQ(report.rows[1].memory.peak, alone.peak);
  EXPECT_EQ(report.rows[1].memory.scratch, alone.scratch);
  EXPECT_GT(report.rows[0].memory.scratch, alone.scratch);
  EXPECT_GT(report.rows[0].memory.states, alone.states);
}

// `auto` is no reduction before it knows the length.
TEST_P(BenchTest, ByLength) {
  const BenchCase what = Case(engine_, "auto@10%", 100, 1, 0);
  const BenchReport report = engine_.Measure({&what, 1}, {.repeats = 1, .rates = false});
  EXPECT_EQ(report.rows[0].reduce, what.reduction.text());
  EXPECT_EQ(report.rows[0].applied, what.reduction.For(100).text());
}

TEST_P(BenchTest, RatesAndShares) {
  const BenchCase what = Case(engine_, "none", 32, 1, 1);
  const BenchReport report = engine_.Measure({&what, 1}, {.repeats = 1});
  ASSERT_TRUE(report.rates.has_value());
  EXPECT_GT(report.rates->gflop_per_second, 0);
  EXPECT_GT(report.rates->gb_per_second, 0);
  EXPECT_GT(report.rows[0].ProductShare(*report.rates), 0);
  EXPECT_GT(report.rows[0].CopyShare(*report.rates).value(), 0);
}

TEST_P(BenchTest, CancelledItKeepsWhatIsDone) {
  const std::vector<BenchCase> cases(3, Case(engine_, "none", 64, 1, 1));
  std::atomic<bool> cancel = false;
  const auto run = [&](double at) {
    cancel = false;
    BenchOptions options{.repeats = 2, .rates = false};
    options.control.cancel = &cancel;
    options.control.progress = [&, at](double share) {
      EXPECT_LE(share, 1.0);
      if (share >= at) cancel = true;
    };
    return engine_.Measure(cases, options);
  };
  // Three visits are untimed, and six follow.
  EXPECT_TRUE(run(0.2).rows.empty());
  const BenchReport some = run(0.5);
  EXPECT_FALSE(some.complete);
  EXPECT_GE(some.rows.size(), 1);
  for (const BenchRow& row : some.rows) EXPECT_GE(row.prefill_ms.size(), 1);
  EXPECT_TRUE(run(2).complete);
}

TEST_P(BenchTest, RefusesWhatCannotBe) {
  const auto message = [&](BenchCase what, BenchOptions options) {
    return ErrorOf([&] { engine_.Measure({&what, 1}, options); });
  };
  EXPECT_NE(message({.prompt = 0}, {}).find("prompt: got 0, expected 1 to"), std::string::npos);
  EXPECT_NE(message({.batch = -1}, {}).find("batch: got -1, expected 1 to"), std::string::npos);
  EXPECT_NE(message({.decode = -1}, {}).find("decode: got -1, expected 0 to"), std::string::npos);
  EXPECT_NE(message({}, {.repeats = 0}).find("repeats: got 0, expected at least 1"),
            std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(Kinds, BenchTest, ::testing::Bool(), testing::KindName);

}  // namespace
}  // namespace pith
