// Convert: a model that went through a GGUF file is the model that it was, bit by bit where its
// types were kept or widened; what such a file cannot say is refused; and an error leaves no file
// behind.
#include "pith/convert.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "core/blocks.h"
#include "core/file.h"
#include "core/gguf.h"
#include "core/json.h"
#include "pith/engine.h"
#include "pith/tokenizer.h"
#include "tests/engine/tiny_checkpoint.h"
#include "tokenize/gguf_pieces.h"

namespace pith {
namespace {

using testing::TinyModel;
using testing::TinyOptions;
using testing::WriteModel;

namespace fs = std::filesystem;

constexpr int32_t kText[] = {72, 101, 257, 256, 111, 32, 3, 200, 258, 0, 97, 98, 255, 17};

// What a model says of a text, for its bits.
std::vector<double> Said(const fs::path& model) {
  const Engine engine = Engine::Load(model, TinyOptions());
  const std::span<const int32_t> text = kText;
  std::vector<double> said = {engine.Perplexity(text).nll};
  for (size_t cut = 1; cut < text.size(); ++cut) {
    const ScoreItem item = {.context = {text.begin(), text.begin() + cut},
                            .continuation = {text.begin() + cut, text.end()}};
    said.push_back(engine.Score({&item, 1})[0].logprob);
  }
  return said;
}

class ConvertTest : public ::testing::TestWithParam<bool> {
 protected:
  ConvertTest() { WriteModel(dir_, TinyModel({.mamba2 = GetParam()})); }
  fs::path out(const char* name = "m.gguf") const { return dir_.path() / name; }
  ConvertReport To(const std::string& weights, const char* name = "m.gguf") const {
    return Convert(dir_.path(), {}, out(name), {.weights = weights, .threads = 2});
  }

  testing::TempDir dir_;
};

TEST_P(ConvertTest, AStoredOrWiderModelKeepsItsBits) {
  const std::vector<double> before = Said(dir_.path());
  const ConvertReport report = To("stored");
  EXPECT_EQ(report.bytes, static_cast<int64_t>(fs::file_size(out())));
  EXPECT_TRUE(report.tokenizer);
  EXPECT_EQ(report.stored_types.size(), 1u);
  EXPECT_EQ(Said(out()), before);
  To("f32", "wide.gguf");
  EXPECT_EQ(Said(out("wide.gguf")), before);
}

TEST_P(ConvertTest, EveryTypeHoldsTheRoundedWeights) {
  To("f32");
  for (const auto& [weights, dtype] :
       {std::pair("f16", DType::kF16), {"bf16", DType::kBF16}, {"q8_0", DType::kQ8_0}}) {
    SCOPED_TRACE(weights);
    To(weights, "narrow.gguf");
    const MappedFile wide_file(out()), narrow_file(out("narrow.gguf"));
    const Gguf wide(wide_file.bytes(), "wide"), narrow(narrow_file.bytes(), "narrow");
    ASSERT_EQ(wide.tensors().size(), narrow.tensors().size());
    int matrices = 0;
    for (size_t i = 0; i < wide.tensors().size(); ++i) {
      const GgufTensor& from = wide.tensors()[i];
      const GgufTensor& to = narrow.tensors()[i];
      if (to.dtype == DType::kF32) continue;
      ++matrices;
      // Mamba-1's dt_proj has rows of two, which are no whole blocks.
      const bool short_rows = from.shape.back() % BlockOf(dtype).values != 0;
      ASSERT_EQ(to.dtype, short_rows ? DType::kF16 : dtype) << to.name;
      std::vector<float> values(from.bytes.size() / 4);
      std::memcpy(values.data(), from.bytes.data(), from.bytes.size());
      std::vector<std::byte> expected(to.bytes.size());
      ASSERT_TRUE(Narrow(to.dtype, values, expected.data()));
      EXPECT_TRUE(std::ranges::equal(to.bytes, expected)) << to.name;
    }
    EXPECT_EQ(matrices, 1 + 8 * (GetParam() ? 2 : 4));
    // And again from the GGUF file: nothing is rounded twice.
    Convert(out("narrow.gguf"), {}, out("again.gguf"), {.threads = 1});
    EXPECT_EQ(Said(out("again.gguf")), Said(out("narrow.gguf")));
  }
}

TEST_P(ConvertTest, TheTokenizerGoesWithIt) {
  To("stored");
  const Engine engine = Engine::Load(out(), TinyOptions());
  EXPECT_EQ(engine.Tokenize("xabc<|endoftext|>"), (std::vector<int32_t>{'x', 257, 258}));
  EXPECT_EQ(engine.info().end_of_text, 258);
  EXPECT_EQ(engine.info().end_of_text_source, "tokenizer.ggml.eos_token_id");
  EXPECT_EQ(engine.info().format, "gguf");
  EXPECT_EQ(engine.info().parameters, Engine::Load(dir_.path(), TinyOptions()).info().parameters);
  fs::remove(dir_.path() / "tokenizer.json");
  EXPECT_FALSE(To("stored").tokenizer);
  EXPECT_EQ(TokenizerOf(out()), fs::path());
  EXPECT_THROW(Engine::Load(out(), TinyOptions()).Tokenize("x"), Error);
}

// Llama 2's kind, with no merges in the file: it keeps its ids, also from one GGUF file to the
// next.
TEST_P(ConvertTest, PiecesGoWithIt) {
  Json vocab = {{"<unk>", 0}, {"</s>", 1}};
  for (int byte = 0; byte < 256; ++byte) vocab[Bpe::FallbackSpelling(byte)] = 2 + byte;
  for (const char* piece : {"▁", "a", "b", "▁a", "▁ab", "<s>"}) vocab[piece] = vocab.size();
  const Json unknown = {{"id", 0}, {"content", "<unk>"}, {"special", true}};
  const Json end = {{"id", 1}, {"content", "</s>"}, {"special", true}};
  const Json begin = {{"id", 263}, {"content", "<s>"}, {"special", true}};
  const Json json = {{"added_tokens", {unknown, end, begin}},
                     {"normalizer", ParseJson(kPiecesWithPrefix.normalizer, "normalizer")},
                     {"decoder", ParseJson(kPiecesWithPrefix.decoder, "decoder")},
                     {"model",
                      {{"type", "BPE"},
                       {"unk_token", "<unk>"},
                       {"byte_fallback", true},
                       {"vocab", vocab},
                       {"merges", {"▁ a", "▁a b"}}}}};
  dir_.Write("tokenizer.json", json.dump());
  To("stored");
  Convert(out(), {}, out("again.gguf"), {.threads = 1});
  for (const char* name : {"m.gguf", "again.gguf"}) {
    const Engine engine = Engine::Load(out(name), TinyOptions());
    EXPECT_EQ(engine.Tokenize("ab c</s>"), (std::vector<int32_t>{262, 258, 2 + 'c', 1})) << name;
    EXPECT_EQ(engine.tokenizer().Decode(engine.Tokenize("ab c")), "ab c");
    EXPECT_EQ(engine.info().end_of_text, 1);
    const MappedFile file(out(name));
    const Gguf gguf(file.bytes(), name);
    EXPECT_EQ(gguf.Int("tokenizer.ggml.bos_token_id", 0, 1000), 263) << name;
    EXPECT_EQ(gguf.Int("tokenizer.ggml.eos_token_id", 0, 1000), 1) << name;
  }
}

TEST_P(ConvertTest, AMissingConvolutionBiasIsZeros) {
  testing::TestModel model = TinyModel({.mamba2 = GetParam()});
  std::erase_if(model.tensors,
                [](const auto& tensor) { return tensor.name.ends_with("conv1d.bias"); });
  model.config.replace(model.config.rfind("\"layer\""), 0, "\"conv_bias\": false, ");
  WriteModel(dir_, model);
  const std::vector<double> before = Said(dir_.path());
  To("stored");
  EXPECT_EQ(Said(out()), before);
}

TEST_P(ConvertTest, WhatAFileCannotSayIsRefusedAndLeavesNone) {
  const auto refuse = [&](const testing::TestModel& model, const std::string& part,
                          const std::string& weights = "stored") {
    WriteModel(dir_, model);
    const std::string message = testing::ErrorOf([&] { To(weights, "refused.gguf"); });
    EXPECT_NE(message.find(part), std::string::npos) << message;
    for (const auto& entry : fs::directory_iterator(dir_.path())) {
      EXPECT_EQ(entry.path().filename().string().find("refused"), std::string::npos)
          << entry.path();
    }
  };
  const auto changed = [&](const char* name, int64_t index, float value) {
    testing::TestModel model = TinyModel({.mamba2 = GetParam()});
    std::memcpy(model.Find(name).bytes.data() + index * 4, &value, 4);
    return model;
  };
  const char* const matrix = "backbone.layers.7.mixer.out_proj.weight";
  refuse(changed(matrix, 77, 65520), "f16 cannot hold", "f16");
  refuse(changed(matrix, 77, HUGE_VALF), "q8_0 cannot hold", "q8_0");
  refuse(changed(matrix, 77, 3.4e38f), "bf16 cannot hold", "bf16");
  const auto option = [&](const std::string& key) {
    testing::TestModel model = TinyModel({.mamba2 = GetParam()});
    model.config.replace(model.config.rfind("\"layer\""), 0, key + ", ");
    return model;
  };
  testing::TestModel biased = option("\"bias\": true");
  biased.tensors.push_back(testing::MakeTensor("x", DType::kF32, {1}));
  refuse(biased, "biases on its projections");
  if (GetParam()) {
    refuse(option("\"norm_before_gate\": true"), "a norm before the gate");
    refuse(option("\"dt_limit\": [0.1, 0.2]"), "bounds of the step size");
    refuse(option("\"rmsnorm\": false"), "no norm behind the gate");
    refuse(option("\"D_has_hdim\": true"), "a D for each channel");
  }
  EXPECT_THROW(To("q5_1"), Error);
  EXPECT_THROW(Convert(dir_.path(), {}, out(), {.to = "onnx"}), Error);
  const std::atomic<bool> cancel = true;
  WriteModel(dir_, TinyModel({.mamba2 = GetParam()}));
  EXPECT_THROW(Convert(dir_.path(), {}, out("refused.gguf"), {}, {.cancel = &cancel}), Error);
  EXPECT_FALSE(fs::exists(out("refused.gguf")));
}

INSTANTIATE_TEST_SUITE_P(Kinds, ConvertTest, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "Mamba2" : "Mamba1"; });

}  // namespace
}  // namespace pith
