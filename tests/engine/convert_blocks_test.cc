// Transformers and hybrids as GGUF files: what transformers computes is what the converted file
// computes, to the bound of the golden values; a file of each architecture that goes through pith
// keeps its bits; and what such a file cannot say is refused by name.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "core/file.h"
#include "core/json.h"
#include "model/model.h"
#include "pith/convert.h"
#include "tests/device.h"
#include "tests/golden/batch_logits.h"
#include "tests/golden/gguf_models.h"
#include "tests/load/checkpoint_builder.h"

namespace pith {
namespace {

namespace fs = std::filesystem;

const fs::path kGolden = fs::path(PITH_SOURCE_DIR) / "tests/golden";

std::vector<testing::Rows> LogitsOf(const fs::path& model,
                                    const std::vector<std::vector<int32_t>>& texts) {
  const Exec exec = ExecOn(testing::DeviceUnderTest(), 2);
  return testing::BatchLogits(LoadModel(model, exec).model, exec, texts);
}

class ConvertedBlocks : public ::testing::TestWithParam<const char*> {};

TEST_P(ConvertedBlocks, ComputeWhatTransformersComputes) {
  const testing::TempDir dir;
  const fs::path from = kGolden / GetParam(), to = dir.path() / "m.gguf";
  Convert(from, {}, to, {.threads = 2});
  const Json expected = ParseJson(ReadFile(from / "expected.json"), GetParam());
  std::vector<std::vector<int32_t>> texts;
  for (const Json& sequence : expected["sequences"]) texts.push_back(sequence["ids"]);
  const std::vector<testing::Rows> logits = LogitsOf(to, texts);
  const double bound = 2 * expected["peer_error"]["logits"].get<double>();
  for (size_t i = 0; i < texts.size(); ++i) {
    const Json& sequence = expected["sequences"][i];
    const auto first = sequence["first_row"].get<size_t>();
    for (size_t r = first; r < logits[i].size(); ++r) {
      for (size_t v = 0; v < logits[i][r].size(); ++v) {
        ASSERT_NEAR(logits[i][r][v], sequence["logits"][r - first][v].get<double>(), bound)
            << "text " << i << ", row " << r << ", id " << v;
      }
    }
  }
  // From one GGUF file to another: pairs that rotate are neighbours by now, and stay.
  const fs::path again = dir.path() / "again.gguf";
  Convert(to, {}, again, {.threads = 1});
  EXPECT_EQ(LogitsOf(again, texts), logits);
}

INSTANTIATE_TEST_SUITE_P(Families, ConvertedBlocks,
                         ::testing::Values("hf-llama", "hf-llama-options", "hf-granite",
                                           "hf-granitemoehybrid", "hf-bamba", "hf-qwen2-tied",
                                           "hf-jamba-plain"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

TEST(ConvertBlocks, EveryArchitectureKeepsItsBits) {
  const testing::TempDir dir;
  const std::vector<std::vector<int32_t>> texts = {{5, 17, 90, 3, 44, 44, 8}};
  for (const char* model : {"llama", "qwen2", "granite", "granitehybrid", "granitehybrid-experts",
                            "jamba", "nemotron_h", "falcon-h1"}) {
    SCOPED_TRACE(model);
    dir.Write("m.gguf", testing::GgufModelBytes(model, testing::FindGgufModelType("F32")));
    Convert(dir.path() / "m.gguf", {}, dir.path() / "again.gguf", {.threads = 2});
    EXPECT_EQ(LogitsOf(dir.path() / "again.gguf", texts), LogitsOf(dir.path() / "m.gguf", texts));
  }
}

TEST(ConvertBlocks, WhatAFileCannotSayIsRefused) {
  const testing::TempDir dir;
  const fs::path to = dir.path() / "m.gguf";
  for (const auto& [model, part] :
       {std::pair("hf-llama-yarn", "a rotation that is multiplied (yarn)"),
        {"hf-qwen2", "a scaled rotation"},
        {"hf-granitemoehybrid-experts", "biases on its projections"},
        {"hf-jamba", "biases on its projections"},
        {"hf-falcon-h1", "multipliers"},
        {"hf-nemotron-h-experts", "bounds of the step size"},
        {"hf-zamba2", "GGUF: got a model of zamba2, whose architecture pith does not write"},
        {"hf-qwen3", "GGUF: got a model of qwen3, whose architecture pith does not write"},
        {"hf-zamba2-options", "GGUF: got a model of zamba2"}}) {
    const std::string message =
        testing::ErrorOf([&] { Convert(kGolden / model, {}, to, {.threads = 1}); });
    EXPECT_NE(message.find(part), std::string::npos) << message;
    EXPECT_FALSE(fs::exists(to)) << model;
  }
}

}  // namespace
}  // namespace pith
