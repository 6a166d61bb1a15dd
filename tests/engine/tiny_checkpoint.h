// A whole checkpoint directory of a model small enough for hundreds of forwards: random weights,
// and a tokenizer whose ids can be told by hand: byte b has id b, "ab" 256, "abc" 257,
// "<|endoftext|>" 258.
#ifndef TESTS_ENGINE_TINY_CHECKPOINT_H_
#define TESTS_ENGINE_TINY_CHECKPOINT_H_

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "pith/engine.h"
#include "tests/device.h"
#include "tests/load/checkpoint_builder.h"
#include "tests/tokenize/small_tokenizer.h"

namespace pith::testing {

inline constexpr int32_t kEndOfText = 258;

struct TinyShape {
  bool mamba2 = true;
  int64_t vocab_size = 264;
  std::string more_config;  // ", \"key\": value"
};

inline Json TinyTokenizer(const StringPairs& merges = {{"a", "b"}, {"ab", "c"}}) {
  Json json = SmallTokenizer(merges);
  json["added_tokens"] = {Added(kEndOfText, "<|endoftext|>", {"special"})};
  return json;
}

// d_model 32, d_inner 64, 8 layers: default sites after 2, 3, 4 and 5. Matrices are N(0, 1/cols)
// and vectors lie where trained ones do.
class TinyWeights {
 public:
  std::vector<TestTensor> Make(const TinyShape& shape) {
    Normal("backbone.embedding.weight", {shape.vocab_size, 32}, 0, 1 / std::sqrt(32.0f));
    for (int layer = 0; layer < 8; ++layer) {
      const std::string prefix = StrCat("backbone.layers.", layer, ".");
      Normal(prefix + "norm.weight", {32}, 1, 0.1f);
      shape.mamba2 ? Mamba2(prefix + "mixer.") : Mamba1(prefix + "mixer.");
      Normal(prefix + "mixer.out_proj.weight", {32, 64}, 0, 0.125f);
    }
    Normal("backbone.norm_f.weight", {32}, 1, 0.1f);
    return std::move(tensors_);
  }

 private:
  void Mamba1(const std::string& mixer) {
    Normal(mixer + "in_proj.weight", {128, 32}, 0, 0.18f);
    Normal(mixer + "conv1d.weight", {64, 1, 4}, 0, 0.5f);
    Normal(mixer + "conv1d.bias", {64}, 0, 0.1f);
    Normal(mixer + "x_proj.weight", {2 + 2 * 16, 64}, 0, 0.125f);
    Normal(mixer + "dt_proj.weight", {64, 2}, 0, 0.7f);
    Normal(mixer + "dt_proj.bias", {64}, -2.5f, 1);
    Normal(mixer + "A_log", {64, 16}, 0.7f, 0.5f);
    Normal(mixer + "D", {64}, 1, 0.2f);
  }

  void Mamba2(const std::string& mixer) {
    Normal(mixer + "in_proj.weight", {2 * 64 + 2 * 16 + 4, 32}, 0, 0.18f);
    Normal(mixer + "conv1d.weight", {64 + 2 * 16, 1, 4}, 0, 0.5f);
    Normal(mixer + "conv1d.bias", {64 + 2 * 16}, 0, 0.1f);
    Normal(mixer + "dt_bias", {4}, -2.5f, 1);
    Normal(mixer + "A_log", {4}, 0.7f, 0.5f);
    Normal(mixer + "D", {4}, 1, 0.2f);
    Normal(mixer + "norm.weight", {64}, 1, 0.1f);
  }

  void Normal(const std::string& name, const std::vector<int64_t>& shape, float mean,
              float spread) {
    TestTensor tensor{.name = name, .dtype = "F32", .shape = shape, .bytes = ""};
    int64_t count = 1;
    for (const int64_t size : shape) count *= size;
    std::normal_distribution<float> normal(mean, spread);
    std::vector<float> values(count);
    for (float& value : values) value = normal(random_);
    tensor.bytes.resize(values.size() * sizeof(float));
    std::memcpy(tensor.bytes.data(), values.data(), tensor.bytes.size());
    tensors_.push_back(std::move(tensor));
  }

  std::mt19937_64 random_{1};
  std::vector<TestTensor> tensors_;
};

inline TestModel TinyModel(const TinyShape& shape = {}) {
  const char* mixer = shape.mamba2 ? R"({"layer": "Mamba2", "d_state": 16, "headdim": 16})"
                                   : R"({"layer": "Mamba1"})";
  return {.config = StrCat(R"({"d_model": 32, "n_layer": 8, "vocab_size": )", shape.vocab_size,
                           R"(, "ssm_cfg": )", mixer, shape.more_config, "}"),
          .tensors = TinyWeights().Make(shape)};
}

inline void WriteModel(const TempDir& dir, const TestModel& model,
                       const Json& tokenizer = TinyTokenizer()) {
  dir.Write("config.json", model.config);
  dir.Write("model.safetensors", SafetensorsBytes(model.tensors));
  dir.Write("tokenizer.json", tokenizer.dump());
}

inline EngineOptions TinyOptions(int threads = 2) {
  EngineOptions options;
  options.device = DeviceName();
  options.threads = threads;
  // The reference backend carries a double state through a chunk of rows and rounds it to f32 at
  // each cut, so bits stay equal there only where no sequence is cut.
  options.rows_per_chunk = DeviceUnderTest() == Device::kReference ? 1 << 20 : 64;
  options.ssd_chunk = 16;
  return options;
}

inline Engine LoadTiny(const TinyShape& shape = {}, const EngineOptions& options = TinyOptions(),
                       const Json& tokenizer = TinyTokenizer()) {
  const TempDir dir;
  WriteModel(dir, TinyModel(shape), tokenizer);
  return Engine::Load(dir.path(), options);
}

inline std::vector<int32_t> RandomIds(int64_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<int32_t> ids(count);
  for (int32_t& id : ids) id = static_cast<int32_t>(random() % kEndOfText);
  return ids;
}

// Either kind of block, by name in test lists.
class BothKinds : public ::testing::TestWithParam<bool> {
 protected:
  Engine engine_ = LoadTiny({.mamba2 = GetParam()});
};
inline std::string KindName(const ::testing::TestParamInfo<bool>& info) {
  return info.param ? "Mamba2" : "Mamba1";
}

}  // namespace pith::testing

#endif  // TESTS_ENGINE_TINY_CHECKPOINT_H_
