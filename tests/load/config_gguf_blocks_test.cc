// A GGUF file's keys as layers of Transformers and hybrids: each kind of block, and each key that
// is wrong.
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "core/error.h"
#include "load/config_gguf.h"
#include "load/config_rope.h"
#include "tests/load/checkpoint_builder.h"
#include "tests/load/gguf_builder.h"

namespace pith {
namespace {

using testing::GgufFloat32;
using testing::GgufInts;
using testing::GgufTestFile;
using testing::GgufUint32;

// Four blocks of width 64; one number a key for all of them.
GgufTestFile Blocks(const std::string& arch) {
  GgufTestFile file;
  file.Set("general.architecture", testing::GgufText(arch));
  const auto set = [&](const char* key, uint32_t value) {
    file.Set(StrCat(arch, ".", key), GgufUint32(value));
  };
  set("embedding_length", 64), set("block_count", 4), set("feed_forward_length", 96);
  set("attention.head_count", 4), set("attention.head_count_kv", 2), set("context_length", 4096);
  file.Set(arch + ".attention.layer_norm_rms_epsilon", GgufFloat32(1e-5F));
  if (arch == "granitehybrid" || arch == "nemotron_h") {
    set("ssm.conv_kernel", 4), set("ssm.inner_size", 128), set("ssm.state_size", 16);
    set("ssm.time_step_rank", 8), set("ssm.group_count", 2);
    file.Set(arch + ".attention.head_count_kv", GgufInts({0, 2, 0, 0}));
  }
  if (arch == "nemotron_h") file.Set(arch + ".feed_forward_length", GgufInts({0, 0, 96, 0}));
  file.tensors = {
      {.name = "token_embd.weight", .dims = {2, 8}, .type = 1, .bytes = std::string(32, 'e')}};
  return file;
}

ModelConfig Read(const GgufTestFile& file) {
  const std::vector<std::byte> bytes = testing::ToBytes(file.Bytes());
  return ReadGgufConfig(Gguf(bytes, "m.gguf"));
}

TEST(GgufBlocks, ATransformerRotates) {
  GgufTestFile file = Blocks("llama");
  file.Set("llama.rope.freq_base", GgufFloat32(5e5F));
  file.Set("llama.rope.scaling.type", testing::GgufText("linear"));
  file.Set("llama.rope.scaling.factor", GgufFloat32(4));
  const ModelConfig config = Read(file);
  ASSERT_EQ(config.n_layer(), 8);
  const auto& attention = std::get<AttentionConfig>(config.layers[6]);
  EXPECT_EQ(attention.n_heads, 4);
  EXPECT_EQ(attention.n_kv_heads, 2);
  EXPECT_EQ(attention.head_dim, 16);
  EXPECT_EQ(attention.scale, 0.25F);
  EXPECT_TRUE(attention.rope_interleaved);
  EXPECT_FALSE(attention.qkv_bias);
  const std::vector<double> plain = RopeFrequencies(5e5, 16);
  ASSERT_EQ(attention.rope.size(), plain.size());
  for (size_t i = 0; i < plain.size(); ++i) EXPECT_EQ(attention.rope[i], plain[i] / 4);
  EXPECT_EQ(std::get<MlpConfig>(config.layers[7]).d_hidden, 96);
  EXPECT_FALSE(std::get<AttentionConfig>(Read(Blocks("qwen2")).layers[0]).rope_interleaved);
}

TEST(GgufBlocks, HybridsTellTheirBlocksByNumbers) {
  GgufTestFile file = Blocks("granitehybrid");
  file.Set("granitehybrid.rope.scaling.finetuned", testing::GgufBool(false));
  file.Set("granitehybrid.residual_scale", GgufFloat32(0.25F));
  file.Set("granitehybrid.logit_scale", GgufFloat32(8));
  file.Set("granitehybrid.attention.scale", GgufFloat32(0.5F));
  const ModelConfig granite = Read(file);
  EXPECT_EQ(granite.residual_scale, 0.25F);
  EXPECT_EQ(granite.logits_scale, 0.125F);
  EXPECT_TRUE(std::holds_alternative<Mamba2Config>(granite.layers[0]));
  const auto& attention = std::get<AttentionConfig>(granite.layers[2]);
  EXPECT_TRUE(attention.rope.empty());
  EXPECT_EQ(attention.scale, 0.5F);
  file.Set("granitehybrid.expert_count", GgufUint32(6));
  file.Set("granitehybrid.expert_used_count", GgufUint32(3));
  const ModelConfig mixture = Read(file);
  const auto& experts = std::get<ExpertsConfig>(mixture.layers[1]);
  EXPECT_EQ(experts.n_experts, 6);
  EXPECT_EQ(experts.chosen, 3);
  EXPECT_EQ(experts.shared.d_hidden, 0);

  const ModelConfig nemotron = Read(Blocks("nemotron_h"));
  ASSERT_EQ(nemotron.n_layer(), 4);
  EXPECT_TRUE(std::holds_alternative<AttentionConfig>(nemotron.layers[1]));
  EXPECT_FALSE(std::get<MlpConfig>(nemotron.layers[2]).gated);
  EXPECT_TRUE(std::holds_alternative<Mamba2Config>(nemotron.layers[3]));
}

TEST(GgufBlocks, WrongValuesAreNamed) {
  const auto refuse = [](const std::string& key, std::string value, const std::string& part) {
    GgufTestFile file = Blocks(key.substr(0, key.find('.')));
    file.Set(key, std::move(value));
    const std::string message = testing::ErrorOf([&] { Read(file); });
    EXPECT_NE(message.find("m.gguf: " + key + part), std::string::npos) << message;
  };
  refuse("llama.attention.head_count", GgufUint32(0), ": got 0");
  refuse("llama.attention.head_count", GgufUint32(5), ": got 5");
  refuse("llama.attention.head_count_kv", GgufInts({2, 1, 2, 2}), ": got an array");
  refuse("llama.attention.head_count_kv", GgufInts({2, 2, 2}), ": got an array of 3");
  refuse("llama.attention.head_count_kv", GgufInts({2, -2, 2, 2}), ": got an array");
  refuse("llama.attention.head_count_kv", GgufInts({2, 0, 2, 2}), ": got an array");
  refuse("llama.attention.key_length", GgufUint32(1 << 20), ": got");
  refuse("llama.feed_forward_length", GgufInts({96, 0, 96, 96}), ": got an array");
  refuse("llama.rope.dimension_count", GgufUint32(18), ": got 18");
  refuse("llama.rope.dimension_count", GgufUint32(7), ": got 7");
  refuse("llama.rope.freq_base", GgufFloat32(-1), ": got -1");
  refuse("llama.rope.scaling.type", testing::GgufText("yarn"), ": got \"yarn\"");
  refuse("llama.expert_count", GgufUint32(8), ": got 8");
  refuse("llama.attention.sliding_window", GgufUint32(8), ": got 8, but this key is not known");
  refuse("granitehybrid.residual_scale", GgufFloat32(0), ": got 0");
  refuse("granitehybrid.expert_count", GgufUint32(1 << 20), ": got");
}

TEST(GgufBlocks, WrongFactorsAreNamed) {
  GgufTestFile file = Blocks("llama");
  const auto refuse = [&](uint64_t count, float value) {
    std::string bytes;
    for (uint64_t i = 0; i < count; ++i) {
      bytes += testing::LittleBytes(std::bit_cast<uint32_t>(value));
    }
    file.tensors.resize(1);
    file.tensors.push_back(
        {.name = "rope_freqs.weight", .dims = {count}, .type = 0, .bytes = bytes});
    const std::string message = testing::ErrorOf([&] { Read(file); });
    EXPECT_NE(message.find("rope_freqs.weight"), std::string::npos) << message;
  };
  refuse(7, 1);
  refuse(8, 0);
  refuse(8, -2);
}

}  // namespace
}  // namespace pith
