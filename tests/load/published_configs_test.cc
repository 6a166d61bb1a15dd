// The configs of published models, by value, and those that transformers saves with every default.
//
// The published ones are written from memory of the files' fields, not copied: all fields that a
// forward depends on are there, and those that compete with one another. Expected sizes are those
// of the published weights. The saved ones (tests/load/data/configs) were written by the library
// itself in eight versions (tools/golden/transformers_configs.py).
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "core/error.h"
#include "load/model_config.h"
#include "tests/load/checkpoint_builder.h"
#include "tests/load/mixers.h"

namespace pith {
namespace {

using testing::IsMamba1;
using testing::Mamba1Of;
using testing::Mamba2Of;
using testing::MixerOf;

const std::filesystem::path kConfigs =
    std::filesystem::path(PITH_SOURCE_DIR) / "tests/load/data/configs";

ModelConfig Parse(const std::string& text) { return ParseModelConfig(text, "config.json"); }

struct Size {
  int64_t width;
  int64_t layers;
};

// mamba-130m, -370m, -790m, -1.4b and -2.8b (and mamba-2.8b-slimpj); Mamba-2's have the same.
constexpr Size kSizes[] = {{768, 24}, {1024, 48}, {1536, 48}, {2048, 48}, {2560, 64}};

void ExpectMamba1(const ModelConfig& c, int64_t width, int64_t layers, int64_t vocab) {
  EXPECT_TRUE(IsMamba1(c));
  EXPECT_EQ(c.d_model, width);
  EXPECT_EQ(c.n_layer(), layers);
  EXPECT_EQ(c.vocab_size, vocab);
  EXPECT_EQ(MixerOf(c).d_inner, 2 * width);
  EXPECT_EQ(Mamba1Of(c).in_proj_rows(), 4 * width);
  EXPECT_EQ(Mamba1Of(c).dt_rank, width / 16);
  EXPECT_EQ(MixerOf(c).d_state, 16);
  EXPECT_EQ(MixerOf(c).d_conv, 4);
  EXPECT_EQ(c.norm_eps, 1e-5f);
  EXPECT_TRUE(MixerOf(c).conv_bias);
  EXPECT_FALSE(MixerOf(c).proj_bias || c.layer_norm);
}

void ExpectMamba2(const ModelConfig& c, int64_t width, int64_t layers, int64_t vocab) {
  EXPECT_FALSE(IsMamba1(c));
  EXPECT_EQ(c.d_model, width);
  EXPECT_EQ(c.n_layer(), layers);
  EXPECT_EQ(c.vocab_size, vocab);
  EXPECT_EQ(MixerOf(c).d_inner, 2 * width);
  EXPECT_EQ(Mamba2Of(c).n_heads, width / 32);
  EXPECT_EQ(Mamba2Of(c).head_dim, 64);
  EXPECT_EQ(MixerOf(c).d_state, 128);
  EXPECT_EQ(MixerOf(c).d_conv, 4);
  EXPECT_EQ(Mamba2Of(c).chunk_size, 256);
  EXPECT_EQ(c.norm_eps, 1e-5f);
  EXPECT_EQ(Mamba2Of(c).dt_min, 0.0f);
  EXPECT_TRUE(std::isinf(Mamba2Of(c).dt_max));
  EXPECT_TRUE(MixerOf(c).conv_bias && Mamba2Of(c).gated_norm);
  EXPECT_FALSE(MixerOf(c).proj_bias || c.layer_norm || Mamba2Of(c).norm_before_gate ||
               Mamba2Of(c).d_has_hdim);
}

TEST(PublishedConfigs, StateSpacesMamba) {
  for (const Size size : kSizes) {
    const ModelConfig c = Parse(
        StrCat(R"({"d_model": )", size.width, R"(, "n_layer": )", size.layers,
               R"(, "vocab_size": 50277, "ssm_cfg": {}, "rms_norm": true, "residual_in_fp32": true,
           "fused_add_norm": true, "pad_vocab_size_multiple": 8})"));
    EXPECT_EQ(c.format, "mamba_ssm");
    ExpectMamba1(c, size.width, size.layers, 50280);
    EXPECT_TRUE(c.tie_embeddings);
  }
}

// Conversion left mamba_ssm's keys beside those of transformers.
TEST(PublishedConfigs, StateSpacesMambaHf) {
  for (const Size size : kSizes) {
    const int64_t inner = 2 * size.width;
    const ModelConfig c = Parse(StrCat(
        R"({"architectures": ["MambaForCausalLM"], "bos_token_id": 0, "conv_kernel": 4,
            "d_inner": )",
        inner, R"(, "d_model": )", size.width, R"(, "eos_token_id": 0, "expand": 2,
            "fused_add_norm": true, "hidden_act": "silu", "hidden_size": )",
        size.width, R"(, "initializer_range": 0.1, "intermediate_size": )", inner,
        R"(, "layer_norm_epsilon": 1e-05, "model_type": "mamba", "n_layer": )", size.layers,
        R"(, "num_hidden_layers": )", size.layers, R"(, "pad_token_id": 0,
            "pad_vocab_size_multiple": 8, "rescale_prenorm_residual": false,
            "residual_in_fp32": true, "rms_norm": true, "ssm_cfg": {}, "state_size": 16,
            "time_step_floor": 0.0001, "time_step_init_scheme": "random", "time_step_max": 0.1,
            "time_step_min": 0.001, "time_step_rank": )",
        size.width / 16, R"(, "time_step_scale": 1.0, "torch_dtype": "float32",
            "transformers_version": "4.39.0.dev0", "use_bias": false, "use_cache": true,
            "use_conv_bias": true, "vocab_size": 50280})"));
    EXPECT_EQ(c.format, "mamba");
    ExpectMamba1(c, size.width, size.layers, 50280);
    EXPECT_TRUE(c.tie_embeddings);
    EXPECT_EQ(c.eos_token_ids, std::vector<int32_t>{0});
  }
}

TEST(PublishedConfigs, StateSpacesMamba2) {
  for (const Size size : kSizes) {
    const ModelConfig c = Parse(
        StrCat(R"({"d_model": )", size.width, R"(, "d_intermediate": 0, "n_layer": )", size.layers,
               R"(, "vocab_size": 50277, "ssm_cfg": {"layer": "Mamba2"}, "attn_layer_idx": [],
            "attn_cfg": {}, "rms_norm": true, "residual_in_fp32": true, "fused_add_norm": true,
            "pad_vocab_size_multiple": 16, "tie_embeddings": true})"));
    ExpectMamba2(c, size.width, size.layers, 50288);
    EXPECT_EQ(Mamba2Of(c).n_groups, 1);
    EXPECT_EQ(Mamba2Of(c).gated_norm_group, 2 * size.width);
    EXPECT_TRUE(c.tie_embeddings);
  }
}

std::string Mamba2Hf(int64_t width, int64_t layers, const std::string& more) {
  return StrCat(
      R"({"architectures": ["Mamba2ForCausalLM"], "bos_token_id": 0, "chunk_size": 256,
          "conv_kernel": 4, "expand": 2, "head_dim": 64, "hidden_act": "silu",
          "hidden_size": )",
      width, R"(, "initializer_range": 0.1, "layer_norm_epsilon": 1e-05, "model_type": "mamba2",
          "num_heads": )",
      width / 32, R"(, "num_hidden_layers": )", layers,
      R"(, "pad_token_id": 0, "rescale_prenorm_residual": false, "residual_in_fp32": true,
          "rms_norm": true, "state_size": 128, "time_step_floor": 0.0001,
          "time_step_init_scheme": "random", "time_step_limit": [0.0, Infinity],
          "time_step_max": 0.1, "time_step_min": 0.001, "time_step_rank": )",
      width / 16, R"(, "use_bias": false, "use_cache": true, "use_conv_bias": true, )", more, "}");
}

TEST(PublishedConfigs, AntonVMamba2Hf) {
  for (const Size size : kSizes) {
    const ModelConfig c =
        Parse(Mamba2Hf(size.width, size.layers,
                       R"("eos_token_id": 0, "n_groups": 1, "norm_before_gate": false,
                          "tie_word_embeddings": true, "torch_dtype": "float32",
                          "transformers_version": "4.45.0.dev0", "vocab_size": 50288)"));
    ExpectMamba2(c, size.width, size.layers, 50288);
    EXPECT_EQ(Mamba2Of(c).n_groups, 1);
    EXPECT_EQ(Mamba2Of(c).gated_norm_group, 2 * size.width);
    EXPECT_TRUE(c.tie_embeddings);
  }
}

// norm_before_gate: the class of 4.44 took it, and its gated norm never looked at it.
TEST(PublishedConfigs, CodestralMamba) {
  const std::string more =
      R"("eos_token_id": 0, "intermediate_size": 8192, "n_groups": 8, "norm_before_gate": true,
         "tie_word_embeddings": false, "torch_dtype": "bfloat16", "vocab_size": 32768,
         "transformers_version": )";
  const ModelConfig c = Parse(Mamba2Hf(4096, 64, more + R"("4.44.0.dev0")"));
  ExpectMamba2(c, 4096, 64, 32768);
  EXPECT_EQ(Mamba2Of(c).n_groups, 8);
  EXPECT_EQ(Mamba2Of(c).in_proj_rows(), 2 * 8192 + 2 * 8 * 128 + 128);
  EXPECT_FALSE(c.tie_embeddings);
  // transformers took one mean of squares over the whole width until 5.22, one a group since.
  EXPECT_EQ(Mamba2Of(c).gated_norm_group, 8192);
  for (const std::string version : {R"("5.22.0")", R"("4.57.1")", R"("")", R"("5")", "null"}) {
    EXPECT_EQ(Mamba2Of(Parse(Mamba2Hf(4096, 64, more + version))).gated_norm_group, 8192)
        << version;
  }
  for (const std::string version : {R"("5.23.0")", R"("5.24.0.dev0")", R"("6.0.0")"}) {
    EXPECT_EQ(Mamba2Of(Parse(Mamba2Hf(4096, 64, more + version))).gated_norm_group, 1024)
        << version;
  }
}

// falcon-mamba-7b and -7b-instruct; `expand` is not what the weights have.
TEST(PublishedConfigs, FalconMamba7b) {
  const std::string config =
      R"({"_name_or_path": "./", "architectures": ["FalconMambaForCausalLM"], "bos_token_id": 0,
          "conv_kernel": 4, "eos_token_id": 11, "expand": 16, "hidden_act": "silu",
          "hidden_size": 4096, "initializer_range": 0.1, "intermediate_size": 8192,
          "layer_norm_epsilon": 1e-05, "mixer_rms_eps": 1e-06, "model_type": "falcon_mamba",
          "num_hidden_layers": 64, "pad_token_id": 11, "rescale_prenorm_residual": false,
          "residual_in_fp32": true, "state_size": 16, "tie_word_embeddings": false,
          "time_step_floor": 0.0001, "time_step_init_scheme": "random", "time_step_max": 0.1,
          "time_step_min": 0.001, "time_step_rank": 256, "time_step_scale": 1.0,
          "torch_dtype": "bfloat16", "transformers_version": "4.43.0.dev0", "use_bias": false,
          "use_cache": true, "use_conv_bias": true, "use_mambapy": false, "vocab_size": 65024})";
  const ModelConfig c = Parse(config);
  EXPECT_EQ(c.format, "falcon_mamba");
  ExpectMamba1(c, 4096, 64, 65024);
  EXPECT_EQ(MixerOf(c).d_inner, 8192);
  EXPECT_TRUE(Mamba1Of(c).bcdt_norm);
  EXPECT_EQ(Mamba1Of(c).bcdt_norm_eps, 1e-6f);
  EXPECT_FALSE(c.tie_embeddings);
  EXPECT_EQ(c.eos_token_ids, std::vector<int32_t>{11});
}

// Each row of the table in docs/formats/config.md where two fields compete.
TEST(PublishedConfigs, WhichFieldWins) {
  const auto hf = [](const std::string& type, const std::string& more) {
    return Parse(R"({"model_type": ")" + type + R"(", "hidden_size": 64, "num_hidden_layers": 2,
                    "vocab_size": 100, )" +
                 more + "}");
  };
  for (const std::string type : {"mamba", "falcon_mamba"}) {
    EXPECT_EQ(MixerOf(hf(type, R"("expand": 3)")).d_inner, 192);
    EXPECT_EQ(MixerOf(hf(type, R"("intermediate_size": null, "expand": 3)")).d_inner, 192);
    EXPECT_EQ(MixerOf(hf(type, R"("intermediate_size": 80, "expand": 3)")).d_inner, 80);
    EXPECT_EQ(MixerOf(hf(type, R"("intermediate_size": 80, "expand": 1e9)")).d_inner, 80);
    EXPECT_EQ(MixerOf(hf(type, R"("intermediate_size": 80, "d_inner": 128)")).d_inner, 80);
    EXPECT_EQ(MixerOf(hf(type, R"("d_inner": 80)")).d_inner, 128);
    EXPECT_EQ(hf(type, R"("d_model": 32, "n_layer": 7)").d_model, 64);
    EXPECT_EQ(hf(type, R"("d_model": 32, "n_layer": 7)").n_layer(), 2);
    EXPECT_EQ(Mamba1Of(hf(type, R"("time_step_rank": "auto")")).dt_rank, 4);
    EXPECT_EQ(Mamba1Of(hf(type, R"("time_step_rank": 9)")).dt_rank, 9);
    EXPECT_TRUE(hf(type, R"("expand": 2)").tie_embeddings);
  }
  const std::string heads = R"("num_heads": 8, "head_dim": 16, "n_groups": 1)";
  EXPECT_EQ(MixerOf(hf("mamba2", heads + R"(, "intermediate_size": 80)")).d_inner, 128);
  EXPECT_EQ(MixerOf(hf("mamba2", heads + R"(, "expand": 2.0)")).d_inner, 128);
  EXPECT_FALSE(hf("mamba2", heads).tie_embeddings);
  for (const std::string wrong : {R"("expand": 3)", R"("expand": 2.5)"}) {
    const std::string message = testing::ErrorOf([&] { hf("mamba2", StrCat(heads, ", ", wrong)); });
    EXPECT_NE(message.find("config.json: num_heads: got 8, expected num_heads * head_dim"),
              std::string::npos)
        << message;
  }
}

// Every key with its value: sizes as they were given, all else neutral.
TEST(SavedConfigs, LoadWithEveryDefault) {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(kConfigs)) {
    std::ostringstream text;
    text << std::ifstream(entry.path()).rdbuf();
    SCOPED_TRACE(entry.path().string());
    const ModelConfig c = Parse(text.str());
    ++files;
    const std::string name = entry.path().filename().string();
    EXPECT_EQ(c.format, name.substr(0, name.find('-')));
    EXPECT_EQ(c.d_model, 8);
    EXPECT_EQ(MixerOf(c).d_inner, 16);
    EXPECT_EQ(c.vocab_size, 16);
    EXPECT_EQ(c.eos_token_ids, std::vector<int32_t>{3});
    EXPECT_EQ(c.tie_embeddings, IsMamba1(c));
    EXPECT_EQ(c.norm_eps, 1e-5f);
    EXPECT_EQ(MixerOf(c).d_conv, 4);
    if (IsMamba1(c)) {
      EXPECT_EQ(Mamba1Of(c).dt_rank, 1);
      EXPECT_EQ(MixerOf(c).d_state, 16);
    } else {
      EXPECT_EQ(Mamba2Of(c).n_heads, 4);
      EXPECT_EQ(Mamba2Of(c).n_groups, 2);
      EXPECT_EQ(MixerOf(c).d_state, 6);
      EXPECT_EQ(Mamba2Of(c).gated_norm_group, name == "mamba2-5.24.0.json" ? 8 : 16);
    }
  }
  EXPECT_EQ(files, 19);
}

TEST(SavedConfigs, KeysOfTheBaseClassThatCouldChangeAForward) {
  const auto with = [](const std::string& key, const std::string& value) {
    return R"({"model_type": "mamba", "hidden_size": 64, "num_hidden_layers": 2,
               "vocab_size": 100, ")" +
           key + "\": " + value + "}";
  };
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"is_encoder_decoder", "true"},
      {"add_cross_attention", "true"},
      {"cross_attention_hidden_size", "64"},
      {"tie_encoder_decoder", "true"},
      {"pruned_heads", R"({"0": [1]})"},
      {"quantization_config", R"({"quant_method": "gptq"})"},
      {"compression_config", R"({"format": "dense"})"},
      {"per_layer_config", R"({"1": {"state_size": 8}})"},
      {"auto_map", R"({"AutoConfig": "configuration_x.XConfig"})"},
  };
  for (const auto& [key, value] : cases) {
    for (const std::string neutral : {"null", "false", "{}", "[]", "\"\"", "0"}) {
      EXPECT_EQ(Parse(with(key, neutral)).d_model, 64);
    }
    try {
      Parse(with(key, value));
      ADD_FAILURE() << key;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kUnsupported) << error.what();
      EXPECT_NE(std::string(error.what()).find("config.json: " + key + ": got "), std::string::npos)
          << error.what();
    }
  }
}

}  // namespace
}  // namespace pith
