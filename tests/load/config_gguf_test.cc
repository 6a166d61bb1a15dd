// A GGUF file's keys as a config: what llama.cpp's conversion writes, and each key that is missing,
// wrong or unknown.
#include "load/config_gguf.h"

#include <gtest/gtest.h>

#include <cmath>

#include <string>
#include <vector>

#include "core/error.h"
#include "tests/load/checkpoint_builder.h"
#include "tests/load/gguf_builder.h"

namespace pith {
namespace {

using testing::GgufTestFile;
using testing::GgufUint32;

// The keys that convert_hf_to_gguf.py writes for Mamba-130M, and for Mamba-2-130M.
GgufTestFile Mamba(const std::string& arch) {
  GgufTestFile file;
  file.Set("general.architecture", testing::GgufText(arch));
  file.Set("general.type", testing::GgufText("model"));
  file.Set("general.name", testing::GgufText("Mamba 130m"));
  file.Set("general.file_type", GgufUint32(0));
  file.Set("general.quantization_version", GgufUint32(2));
  file.Set("quantize.imatrix.chunks_count", GgufUint32(2));
  const auto set = [&](const char* key, uint32_t value) {
    file.Set(arch + key, GgufUint32(value));
  };
  set(".context_length", 1 << 20);
  set(".embedding_length", 768);
  set(".feed_forward_length", 0);
  set(".attention.head_count", 0);
  set(".block_count", 24);
  set(".ssm.conv_kernel", 4);
  set(".ssm.inner_size", 1536);
  set(".ssm.state_size", arch == "mamba2" ? 128 : 16);
  set(".ssm.time_step_rank", arch == "mamba2" ? 24 : 48);
  if (arch == "mamba2") set(".ssm.group_count", 2);
  if (arch == "mamba") file.Set("mamba.ssm.dt_b_c_rms", testing::GgufBool(false));
  file.Set(arch + ".attention.layer_norm_rms_epsilon", testing::GgufFloat32(1e-5f));
  file.Set("tokenizer.ggml.eos_token_id", GgufUint32(3));
  file.tensors = {
      {.name = "token_embd.weight", .dims = {2, 8}, .type = 1, .bytes = std::string(32, 'e')}};
  return file;
}

ModelConfig Read(const GgufTestFile& file) {
  const std::vector<std::byte> bytes = testing::ToBytes(file.Bytes());
  return ReadGgufConfig(Gguf(bytes, "m.gguf"));
}

void ExpectRefused(const GgufTestFile& file, const std::string& part) {
  const std::string message = testing::ErrorOf([&] { Read(file); });
  EXPECT_NE(message.find("m.gguf: " + part), std::string::npos) << message;
}

TEST(GgufConfig, Mamba1) {
  const ModelConfig config = Read(Mamba("mamba"));
  EXPECT_EQ(config.format, "gguf");
  EXPECT_EQ(config.d_model, 768);
  EXPECT_EQ(config.vocab_size, 8);
  EXPECT_EQ(config.norm_eps, 1e-5f);
  EXPECT_FALSE(config.layer_norm);
  EXPECT_TRUE(config.tie_embeddings);
  EXPECT_EQ(config.eos_token_ids, std::vector<int32_t>{3});
  ASSERT_EQ(config.n_layer(), 24);
  const auto& mixer = std::get<Mamba1Config>(config.layers[23]);
  EXPECT_EQ(mixer.d_inner, 1536);
  EXPECT_EQ(mixer.d_state, 16);
  EXPECT_EQ(mixer.d_conv, 4);
  EXPECT_EQ(mixer.dt_rank, 48);
  EXPECT_TRUE(mixer.conv_bias);
  EXPECT_FALSE(mixer.proj_bias);
  EXPECT_FALSE(mixer.bcdt_norm);
}

// llama.cpp norms B, C and Δ with the ε of all other norms; pith's own key tells another one.
TEST(GgufConfig, FalconMamba) {
  GgufTestFile file = Mamba("mamba");
  file.Set("mamba.ssm.dt_b_c_rms", testing::GgufBool(true));
  EXPECT_TRUE(std::get<Mamba1Config>(Read(file).layers[0]).bcdt_norm);
  EXPECT_EQ(std::get<Mamba1Config>(Read(file).layers[0]).bcdt_norm_eps, 1e-5f);
  file.Set("mamba.ssm.dt_b_c_rms_epsilon", testing::GgufFloat32(1e-6f));
  EXPECT_EQ(std::get<Mamba1Config>(Read(file).layers[0]).bcdt_norm_eps, 1e-6f);
}

TEST(GgufConfig, Mamba2) {
  GgufTestFile file = Mamba("mamba2");
  file.tensors.push_back(
      {.name = "output.weight", .dims = {2, 8}, .type = 1, .bytes = std::string(32, 'o')});
  const ModelConfig config = Read(file);
  EXPECT_FALSE(config.tie_embeddings);
  const auto& mixer = std::get<Mamba2Config>(config.layers[0]);
  EXPECT_EQ(mixer.n_heads, 24);
  EXPECT_EQ(mixer.head_dim, 64);
  EXPECT_EQ(mixer.n_groups, 2);
  EXPECT_EQ(mixer.d_state, 128);
  EXPECT_TRUE(mixer.gated_norm);
  EXPECT_FALSE(mixer.norm_before_gate);
  EXPECT_FALSE(mixer.d_has_hdim);
  EXPECT_EQ(mixer.gated_norm_group, 768);
  EXPECT_EQ(mixer.gated_norm_eps, 1e-5f);
}

TEST(GgufConfig, ATextMayEndInTwoWays) {
  GgufTestFile file = Mamba("mamba");
  file.Set("tokenizer.ggml.eot_token_id", GgufUint32(5));
  EXPECT_EQ(Read(file).eos_token_ids, (std::vector<int32_t>{3, 5}));
  file.Set("tokenizer.ggml.eot_token_id", GgufUint32(3));
  EXPECT_EQ(Read(file).eos_token_ids, std::vector<int32_t>{3});
}

TEST(GgufConfig, MissingKeysAreNamed) {
  for (const std::string arch : {"mamba", "mamba2"}) {
    std::vector<std::string> required = {".embedding_length",
                                         ".block_count",
                                         ".ssm.conv_kernel",
                                         ".ssm.inner_size",
                                         ".ssm.state_size",
                                         ".ssm.time_step_rank",
                                         ".attention.layer_norm_rms_epsilon"};
    if (arch == "mamba2") required.emplace_back(".ssm.group_count");
    for (const std::string& key : required) {
      GgufTestFile file = Mamba(arch);
      file.Remove(arch + key);
      ExpectRefused(file, arch + key + ": missing");
    }
  }
  GgufTestFile file = Mamba("mamba");
  file.Remove("general.architecture");
  ExpectRefused(file, "general.architecture: missing");
  file = Mamba("mamba");
  file.tensors.clear();
  ExpectRefused(file, "tensor \"token_embd.weight\" is missing");
}

TEST(GgufConfig, WrongValuesAreNamed) {
  const auto refuse = [](const std::string& arch, const std::string& key, std::string value,
                         const std::string& part) {
    GgufTestFile file = Mamba(arch);
    file.Set(key, std::move(value));
    ExpectRefused(file, part);
  };
  refuse("mamba", "general.architecture", testing::GgufText("rwkv7"),
         "general.architecture: got \"rwkv7\"");
  refuse("mamba", "general.type", testing::GgufText("adapter"), "general.type: got \"adapter\"");
  refuse("mamba", "split.count", GgufUint32(2), "split.count");
  refuse("mamba", "mamba.vocab_size", GgufUint32(9), "mamba.vocab_size: got 9, expected");
  refuse("mamba", "mamba.feed_forward_length", GgufUint32(1), "mamba.feed_forward_length: got 1");
  refuse("mamba", "mamba.attention.head_count", GgufUint32(2), "mamba.attention.head_count: got 2");
  refuse("mamba", "tokenizer.ggml.eos_token_id", GgufUint32(8), "tokenizer.ggml.eos_token_id");
  refuse("mamba", "mamba.rope.dimension_count", GgufUint32(0),
         "mamba.rope.dimension_count: got 0, but this key is not known to pith");
  refuse("mamba", "llama.context_length", GgufUint32(0), "llama.context_length: got 0, but");
  for (const char* key : {"mamba2.embedding_length", "mamba2.block_count", "mamba2.ssm.inner_size",
                          "mamba2.ssm.state_size", "mamba2.ssm.conv_kernel",
                          "mamba2.ssm.time_step_rank", "mamba2.ssm.group_count"}) {
    for (const uint32_t value : {0u, 0xffffffffu}) {
      refuse("mamba2", key, GgufUint32(value), StrCat(key, ": got ", value));
    }
    refuse("mamba2", key, testing::GgufText("4"), StrCat(key, ": got \"4\""));
  }
  refuse("mamba2", "mamba2.ssm.time_step_rank", GgufUint32(25),
         "mamba2.ssm.time_step_rank: got 25");
  refuse("mamba2", "mamba2.ssm.group_count", GgufUint32(5), "mamba2.ssm.group_count: got 5");
  for (const float eps : {-1e-5f, 2.0f, std::nanf("")}) {
    refuse("mamba2", "mamba2.attention.layer_norm_rms_epsilon", testing::GgufFloat32(eps),
           "mamba2.attention.layer_norm_rms_epsilon: got");
  }
}

}  // namespace
}  // namespace pith
