// config.json: what each family's keys mean, their defaults, and that no option passes unnoticed.
// Expected values are those of mamba_ssm's and transformers' own classes, written out by hand.
#include "load/model_config.h"

#include <gtest/gtest.h>

#include <cmath>

#include "pith/error.h"
#include "tests/load/checkpoint_builder.h"
#include "tests/load/mixers.h"

namespace pith {
namespace {

using testing::IsMamba1;
using testing::Mamba1Of;
using testing::Mamba2Of;
using testing::MixerOf;

using testing::ErrorOf;

ModelConfig Parse(const std::string& text) { return ParseModelConfig(text, "config.json"); }

// A mamba_ssm config with these members in ssm_cfg and these behind it.
std::string Ssm(const std::string& ssm, const std::string& more = "") {
  return R"({"d_model": 64, "n_layer": 2, "vocab_size": 50277, "ssm_cfg": {)" + ssm + "}" + more +
         "}";
}

std::string Hf(const std::string& type, const std::string& more = "") {
  return R"({"model_type": ")" + type +
         R"(", "hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 100)" + more + "}";
}

bool Mentions(const std::string& message, const std::string& part) {
  return message.find(part) != std::string::npos;
}

TEST(ModelConfig, PublishedMamba1) {
  const ModelConfig c = Parse(
      R"({"d_model": 2560, "n_layer": 64, "vocab_size": 50277, "ssm_cfg": {}, "rms_norm": true,
          "residual_in_fp32": true, "fused_add_norm": true, "pad_vocab_size_multiple": 8})");
  EXPECT_TRUE(IsMamba1(c));
  EXPECT_EQ(c.format, "mamba_ssm");
  EXPECT_EQ(c.vocab_size, 50280);
  EXPECT_EQ(MixerOf(c).d_inner, 5120);
  EXPECT_EQ(MixerOf(c).d_state, 16);
  EXPECT_EQ(MixerOf(c).d_conv, 4);
  EXPECT_EQ(Mamba1Of(c).dt_rank, 160);
  EXPECT_EQ(Mamba1Of(c).conv_channels(), 5120);
  EXPECT_EQ(Mamba1Of(c).in_proj_rows(), 10240);
  EXPECT_TRUE(MixerOf(c).conv_bias);
  EXPECT_FALSE(MixerOf(c).proj_bias);
  EXPECT_FALSE(c.layer_norm);
  EXPECT_TRUE(c.tie_embeddings);
  EXPECT_EQ(c.norm_eps, 1e-5f);
}

TEST(ModelConfig, PublishedMamba2) {
  const ModelConfig c = Parse(
      R"({"d_model": 2560, "d_intermediate": 0, "n_layer": 64, "vocab_size": 50288,
          "ssm_cfg": {"layer": "Mamba2"}, "attn_layer_idx": [], "attn_cfg": {}, "rms_norm": true,
          "residual_in_fp32": true, "fused_add_norm": true, "pad_vocab_size_multiple": 16,
          "tie_embeddings": true})");
  EXPECT_FALSE(IsMamba1(c));
  EXPECT_EQ(c.vocab_size, 50288);
  EXPECT_EQ(MixerOf(c).d_state, 128);
  EXPECT_EQ(Mamba2Of(c).n_heads, 80);
  EXPECT_EQ(Mamba2Of(c).head_dim, 64);
  EXPECT_EQ(Mamba2Of(c).n_groups, 1);
  EXPECT_EQ(Mamba2Of(c).chunk_size, 256);
  EXPECT_EQ(Mamba2Of(c).conv_channels(), 5120 + 256);
  EXPECT_EQ(Mamba2Of(c).in_proj_rows(), 2 * 5120 + 256 + 80);
  EXPECT_TRUE(Mamba2Of(c).gated_norm);
  EXPECT_FALSE(Mamba2Of(c).norm_before_gate);
  EXPECT_EQ(Mamba2Of(c).gated_norm_group, 5120);
  EXPECT_EQ(Mamba2Of(c).dt_min, 0.0f);
  EXPECT_TRUE(std::isinf(Mamba2Of(c).dt_max));
  EXPECT_NE(c.Describe().find("Mamba-2"), std::string::npos);
}

TEST(ModelConfig, EveryMambaSsmOption) {
  const ModelConfig c =
      Parse(Ssm(R"("layer": "Mamba2", "d_state": 32, "d_conv": 3, "expand": 3, "headdim": 16,
             "ngroups": 4, "chunk_size": 64, "D_has_hdim": true, "rmsnorm": false,
             "norm_before_gate": true, "dt_limit": [0.01, 0.5], "bias": true, "conv_bias": false,
             "d_ssm": null, "A_init_range": [1, 16], "dt_min": 0.001, "use_mem_eff_path": true)",
                R"(, "rms_norm": false, "norm_epsilon": 1e-6, "tie_embeddings": false,
             "pad_vocab_size_multiple": 1, "residual_in_fp32": false, "fused_add_norm": false)"));
  EXPECT_EQ(MixerOf(c).d_inner, 192);
  EXPECT_EQ(Mamba2Of(c).n_heads, 12);
  EXPECT_EQ(Mamba2Of(c).n_groups, 4);
  EXPECT_EQ(MixerOf(c).d_state, 32);
  EXPECT_EQ(MixerOf(c).d_conv, 3);
  EXPECT_EQ(Mamba2Of(c).chunk_size, 64);
  EXPECT_TRUE(Mamba2Of(c).d_has_hdim);
  EXPECT_FALSE(Mamba2Of(c).gated_norm);
  EXPECT_TRUE(Mamba2Of(c).norm_before_gate);
  EXPECT_EQ(Mamba2Of(c).gated_norm_group, 48);
  EXPECT_EQ(Mamba2Of(c).gated_norm_eps, 1e-5f);
  EXPECT_EQ(Mamba2Of(c).dt_min, 0.01f);
  EXPECT_EQ(Mamba2Of(c).dt_max, 0.5f);
  EXPECT_TRUE(MixerOf(c).proj_bias);
  EXPECT_FALSE(MixerOf(c).conv_bias);
  EXPECT_TRUE(c.layer_norm);
  EXPECT_EQ(c.norm_eps, 1e-6f);
  EXPECT_FALSE(c.tie_embeddings);
  EXPECT_EQ(c.vocab_size, 50277);
  EXPECT_EQ(Mamba1Of(Parse(Ssm(R"("dt_rank": 7)"))).dt_rank, 7);
  EXPECT_EQ(Mamba1Of(Parse(Ssm(R"("dt_rank": "auto")"))).dt_rank, 4);
  EXPECT_EQ(MixerOf(Parse(Ssm(R"("expand": 1.5)"))).d_inner, 96);
}

TEST(ModelConfig, HuggingFaceMamba) {
  const ModelConfig c = Parse(
      Hf("mamba", R"(, "state_size": 8, "expand": 2, "intermediate_size": 128, "conv_kernel": 3,
      "use_bias": true, "use_conv_bias": false, "time_step_rank": 5, "layer_norm_epsilon": 1e-6,
      "eos_token_id": 7, "d_model": 64, "d_inner": 128, "ssm_cfg": {}, "rms_norm": true,
      "time_step_limit": [0.0, Infinity], "time_step_init_scheme": "random")"));
  EXPECT_TRUE(IsMamba1(c));
  EXPECT_EQ(c.format, "mamba");
  EXPECT_EQ(c.vocab_size, 100);
  EXPECT_EQ(MixerOf(c).d_inner, 128);
  EXPECT_EQ(MixerOf(c).d_state, 8);
  EXPECT_EQ(MixerOf(c).d_conv, 3);
  EXPECT_EQ(Mamba1Of(c).dt_rank, 5);
  EXPECT_TRUE(MixerOf(c).proj_bias);
  EXPECT_FALSE(MixerOf(c).conv_bias);
  EXPECT_TRUE(c.tie_embeddings);
  EXPECT_FALSE(Mamba1Of(c).bcdt_norm);
  EXPECT_EQ(c.norm_eps, 1e-6f);
  EXPECT_EQ(c.eos_token_ids, std::vector<int32_t>{7});
}

TEST(ModelConfig, HuggingFaceMamba2) {
  const ModelConfig c = ParseModelConfig(testing::HfMamba2().config, "config.json");
  EXPECT_FALSE(IsMamba1(c));
  EXPECT_EQ(Mamba2Of(c).n_heads, 4);
  EXPECT_EQ(Mamba2Of(c).n_groups, 2);
  // transformers' gated norm has one group whatever n_groups is, and the eps of the other norms.
  EXPECT_EQ(Mamba2Of(c).gated_norm_group, 16);
  EXPECT_EQ(Mamba2Of(c).gated_norm_eps, 1e-6f);
  EXPECT_TRUE(std::isinf(Mamba2Of(c).dt_max));
  EXPECT_FALSE(c.tie_embeddings);
  EXPECT_EQ(c.eos_token_ids, (std::vector<int32_t>{2, 3}));
  const std::string heads = R"(, "num_heads": 8, "head_dim": 16, "n_groups": 1)";
  EXPECT_FALSE(Parse(Hf("mamba2", heads)).tie_embeddings);
  const ModelConfig limited =
      Parse(Hf("mamba2", heads + R"(, "time_step_limit": [0.25, {"__float__": "Infinity"}])"));
  EXPECT_EQ(Mamba2Of(limited).dt_min, 0.25f);
  EXPECT_TRUE(std::isinf(Mamba2Of(limited).dt_max));
}

TEST(ModelConfig, FalconMamba) {
  const ModelConfig c = ParseModelConfig(testing::HfFalcon().config, "config.json");
  EXPECT_EQ(c.format, "falcon_mamba");
  EXPECT_TRUE(Mamba1Of(c).bcdt_norm);
  EXPECT_EQ(Mamba1Of(c).bcdt_norm_eps, 1e-6f);
  EXPECT_TRUE(c.tie_embeddings);
}

TEST(ModelConfig, ModelTypeBesideMambaSsmKeys) {
  EXPECT_FALSE(IsMamba1(Parse(Ssm(R"("layer": "Mamba2")", R"(, "model_type": "mamba")"))));
}

// Valid for its family but not built here: an error of kUnsupported that names the key.
TEST(ModelConfig, UnsupportedOptionsAreNamed) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {Ssm(R"("layer": "Mamba4")"), "ssm_cfg.layer"},
      {Ssm(R"("layer": "Mamba3", "d_state": 128, "headdim": 64, "rope_fraction": 0.5)",
           R"(, "d_intermediate": 1536)"),
       "ssm_cfg.layer: got \"Mamba3\", which is not supported; expected \"Mamba1\" or "
       "\"Mamba2\": pith has no Mamba-3"},
      {Ssm(R"("layer": "Mamba2", "d_ssm": 64)"), "ssm_cfg.d_ssm"},
      {Ssm(R"("headdim": 64)"), "ssm_cfg.headdim"},
      {Ssm(R"("layer": "Mamba2", "dt_rank": 4)"), "ssm_cfg.dt_rank"},
      {Ssm(R"("surprise": 1)"), "ssm_cfg.surprise"},
      {Ssm("", R"(, "d_intermediate": 128)"), "d_intermediate"},
      {Ssm("", R"(, "attn_layer_idx": [1])"), "attn_layer_idx"},
      {Ssm("", R"(, "attn_cfg": {"num_heads": 2})"), "attn_cfg"},
      {Ssm("", R"(, "surprise": 1)"), "surprise"},
      {Hf("gpt2"), "model_type"},
      {Hf("mamba", R"(, "hidden_act": "gelu")"), "hidden_act"},
      {Hf("mamba", R"(, "quantization_config": {"bits": 4})"), "quantization_config"},
      {Hf("mamba", R"(, "n_groups": 8)"), "n_groups"},
  };
  for (const auto& [text, key] : cases) {
    try {
      Parse(text);
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kUnsupported) << error.what();
      EXPECT_TRUE(Mentions(error.what(), "config.json: " + key)) << error.what();
    }
  }
}

TEST(ModelConfig, WrongValuesAreNamed) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {R"({"n_layer": 2, "vocab_size": 10})", "d_model"},
      {R"({"d_model": 0, "n_layer": 2, "vocab_size": 10})", "d_model"},
      {R"({"d_model": 8.5, "n_layer": 2, "vocab_size": 10})", "d_model"},
      {R"({"d_model": 8, "n_layer": 18446744073709551615, "vocab_size": 10})", "n_layer"},
      {R"({"d_model": 8, "n_layer": -1, "vocab_size": 10})", "n_layer"},
      {Ssm(R"("expand": 1e30)"), "ssm_cfg.expand"},
      {Ssm(R"("expand": -2)"), "ssm_cfg.expand"},
      {Ssm(R"("layer": "Mamba2", "headdim": 48)"), "ssm_cfg.headdim"},
      {Ssm(R"("layer": "Mamba2", "headdim": 64, "ngroups": 3)"), "groups"},
      {Ssm(R"("layer": "Mamba2", "dt_limit": [1, 0])"), "ssm_cfg.dt_limit"},
      {Ssm(R"("layer": "Mamba2", "dt_limit": 3)"), "ssm_cfg.dt_limit"},
      {Ssm(R"("layer": "Mamba2", "dt_limit": [NaN, 1])"), "ssm_cfg.dt_limit"},
      {Ssm("", R"(, "norm_epsilon": -1)"), "norm_epsilon"},
      {Ssm("", R"(, "rms_norm": 1)"), "rms_norm"},
      {R"({"d_model": 8, "n_layer": 2, "vocab_size": 10, "ssm_cfg": []})", "ssm_cfg"},
      {Hf("mamba", R"(, "eos_token_id": 100)"), "eos_token_id"},
      {Hf("mamba", R"(, "eos_token_id": "x")"), "eos_token_id"},
      {Hf("mamba", R"(, "intermediate_size": 0)"), "intermediate_size"},
      {Hf("mamba", R"(, "intermediate_size": 1.5)"), "intermediate_size"},
      {Hf("mamba2", R"(, "num_heads": 3, "head_dim": 16)"), "num_heads"},
      {R"({"d_model": 8, "d_model": 8, "n_layer": 2, "vocab_size": 10})", "d_model"},
      {"[]", "object"},
      {"", "JSON"},
      {std::string(100000, '['), "nested deeper"},
      {R"({"a":)" + std::string(100000, '{'), "JSON"},
  };
  for (const auto& [text, part] : cases) {
    const std::string message = ErrorOf([&, &text = text] { Parse(text); });
    EXPECT_TRUE(Mentions(message, part)) << message;
    EXPECT_TRUE(Mentions(message, "config.json")) << message;
  }
}

TEST(ModelConfig, DamagedTextLoadsOrThrows) {
  for (const auto& model : {testing::SsmMamba2(), testing::HfMamba2()}) {
    int thrown = 0;
    testing::ForEachDamage(model.config, [&](const std::string& text) {
      try {
        Parse(text);
      } catch (const Error& error) {
        EXPECT_NE(error.code(), ErrorCode::kInternal) << error.what();
        ++thrown;
      }
    });
    EXPECT_GT(thrown, 0);
  }
}

}  // namespace
}  // namespace pith
