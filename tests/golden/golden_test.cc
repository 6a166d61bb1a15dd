// Agreement with PyTorch: transformers' Mamba, Mamba-2 and FalconMamba, and mamba_ssm's layouts, in
// float64 (tests/golden/README.md). The bound is twice the error that the PyTorch model itself
// makes in float32 on the same case (`peer_error`), the largest over all logits. Every case is read
// from its files, as a user would, on the reference backend and on the device under test.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "core/file.h"
#include "core/json.h"
#include "model/prefill.h"
#include "model/step.h"
#include "score/score.h"
#include "tests/device.h"
#include "tests/golden/batch_logits.h"

namespace pith {
namespace {

const std::filesystem::path kGolden = std::filesystem::path(PITH_SOURCE_DIR) / "tests/golden";
const std::filesystem::path kModels = std::filesystem::path(PITH_SOURCE_DIR) / "models";

using testing::BatchLogits;
using testing::RowOf;
using testing::Rows;

Json ReadExpected(const std::string& name) {
  const std::filesystem::path path = kGolden / name / "expected.json";
  return ParseJson(ReadFile(path), path.string());
}

class Golden : public ::testing::TestWithParam<std::string> {};

double LargestDifference(const std::vector<float>& got, const Json& expected) {
  EXPECT_EQ(got.size(), expected.size());
  double worst = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    worst = std::max(worst, std::abs(got[i] - expected[i].get<double>()));
  }
  return std::isnan(worst) ? HUGE_VAL : worst;
}

double LogProbability(const std::vector<float>& logits, int32_t id) {
  const double top = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - top);
  return logits[id] - top - std::log(sum);
}

// One stored sequence against ours: logits from row `first_row` on, and every log-probability.
void CompareSequence(const Json& sequence, const Rows& logits, const Json& peer) {
  const auto first = sequence["first_row"].get<size_t>();
  for (size_t r = first; r < logits.size(); ++r) {
    EXPECT_LE(LargestDifference(logits[r], sequence["logits"][r - first]),
              2 * peer["logits"].get<double>())
        << "row " << r;
  }
  const auto ids = sequence["ids"].get<std::vector<int32_t>>();
  for (size_t i = 0; i + 1 < ids.size(); ++i) {
    EXPECT_NEAR(LogProbability(logits[i], ids[i + 1]), sequence["logprobs"][i].get<double>(),
                2 * peer["logprobs"].get<double>())
        << "after token " << i;
  }
}

TEST_P(Golden, PrefillAloneAndInARaggedBatch) {
  const Json expected = ReadExpected(GetParam());
  std::vector<std::vector<int32_t>> texts;
  std::vector<const Json*> cases;
  for (const char* list : {"sequences", "batch"}) {
    for (const Json& sequence : expected[list]) {
      texts.push_back(sequence["ids"].get<std::vector<int32_t>>());
      cases.push_back(&sequence);
    }
  }
  ASSERT_EQ(cases.size(), 11u);
  for (const Device device : testing::ReferenceAndTested()) {
    const Exec exec = ExecOn(device, 2);
    const Model model = LoadModel(kGolden / GetParam(), exec).model;
    ASSERT_EQ(model.config().vocab_size, expected["vocab_rows"].get<int64_t>());
    const std::vector<Rows> together = BatchLogits(model, exec, texts);
    for (size_t i = 0; i < texts.size(); ++i) {
      SCOPED_TRACE(::testing::Message()
                   << testing::DeviceName(device) << ", sequence of " << texts[i].size());
      CompareSequence(*cases[i], together[i], expected["peer_error"]);
      EXPECT_EQ(BatchLogits(model, exec, {texts[i]})[0], together[i]);
    }
  }
}

TEST_P(Golden, DecodeSteps) {
  const Json expected = ReadExpected(GetParam());
  const double bound = 2 * expected["peer_error"]["logits"].get<double>();
  for (const Device device : testing::ReferenceAndTested()) {
    const Exec exec = ExecOn(device, 2);
    const Model model = LoadModel(kGolden / GetParam(), exec).model;
    for (const Json& decode : expected["decode"]) {
      const auto prefix = decode["prefix"].get<std::vector<int32_t>>();
      SCOPED_TRACE(::testing::Message()
                   << testing::DeviceName(device) << ", prefix of " << prefix.size());
      StatePool pool(model, exec, 1);
      Sequence sequence{.slot = pool.Take()};
      const Rows prompt = BatchLogits(model, exec, {prefix}, pool, {&sequence, 1})[0];
      EXPECT_LE(LargestDifference(prompt.back(), decode["logits"][0]), bound);
      Workspace ws;
      DeviceMat<float> logits;
      logits.Resize(exec, 1, model.config().vocab_size);
      Sequence* sequences[] = {&sequence};
      LayerRows scratch;
      const auto steps = decode["steps"].get<std::vector<int32_t>>();
      for (size_t i = 0; i < steps.size(); ++i) {
        Step(model, exec, pool, {&steps[i], 1}, sequences, ws, scratch, logits.view());
        EXPECT_LE(LargestDifference(RowOf(exec, logits, 0), decode["logits"][i + 1]), bound)
            << "step " << i;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Cases, Golden,
    ::testing::Values("hf-mamba", "hf-mamba-options", "hf-mamba2-groups1", "hf-mamba2-groups2",
                      "hf-mamba2-limit", "hf-falcon-mamba", "hf-falcon-mamba-options", "hf-llama",
                      "hf-llama-options", "hf-llama-yarn", "hf-qwen2", "hf-qwen2-tied", "hf-qwen3",
                      "hf-granite", "hf-granitemoehybrid", "hf-granitemoehybrid-experts",
                      "hf-bamba", "hf-nemotron-h", "hf-nemotron-h-experts", "hf-jamba",
                      "hf-jamba-plain", "hf-falcon-h1", "hf-falcon-h1-norm", "hf-zamba2",
                      "hf-zamba2-options", "ssm-mamba1", "ssm-mamba1-options", "ssm-mamba2",
                      "ssm-mamba2-options", "ssm-mamba2-no-gated-norm"),
    [](const auto& info) {
      std::string name = info.param;
      std::replace(name.begin(), name.end(), '-', '_');
      return name;
    });

// The shipped models, unpacked by scripts/unpack-models.sh, on real text.
class ShippedGolden : public ::testing::TestWithParam<std::string> {};

TEST_P(ShippedGolden, TextAndWindows) {
  if (testing::DeviceUnderTest() == Device::kReference) {
    GTEST_SKIP() << "minutes of work on the reference backend";
  }
  const Json expected = ReadExpected(GetParam());
  const Exec exec = ExecOn(testing::DeviceUnderTest(), 2);
  const Model model = LoadModel(kModels / GetParam(), exec).model;
  const Json& text = expected["text"];
  const auto ids = text["ids"].get<std::vector<int32_t>>();
  const Rows logits = BatchLogits(model, exec, {ids})[0];
  const double bound = 2 * expected["peer_error"]["logprobs"].get<double>();
  for (size_t i = 0; i + 1 < ids.size(); ++i) {
    EXPECT_NEAR(LogProbability(logits[i], ids[i + 1]), text["logprobs"][i].get<double>(), bound);
  }
  const auto top_ids = text["last_top"]["ids"].get<std::vector<int32_t>>();
  for (size_t i = 0; i < top_ids.size(); ++i) {
    EXPECT_NEAR(logits.back()[top_ids[i]], text["last_top"]["logits"][i].get<double>(),
                2 * expected["peer_error"]["logits"].get<double>());
  }
  for (const Json& window : expected["windows"]) {
    const auto window_ids = window["ids"].get<std::vector<int32_t>>();
    const PerplexityResult result = ScoreDocument(model, exec, window_ids, {});
    EXPECT_NEAR(result.nll, window["nll"].get<double>(), bound);
    EXPECT_EQ(result.tokens, static_cast<int64_t>(window_ids.size()) - 1);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, ShippedGolden,
                         ::testing::Values("pith-27m-mamba2", "pith-13m-mamba1"),
                         [](const auto& info) {
                           return info.param == "pith-27m-mamba2" ? "Mamba2" : "Mamba1";
                         });

}  // namespace
}  // namespace pith
