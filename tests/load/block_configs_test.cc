// Published configurations of Transformers and hybrids, by value, and what is refused.
//
// Those in tests/load/data/blocks are the defaults of transformers 5.24's classes, which stand for
// a published model or are near one, every key written out (tools/golden/transformers_configs.py).
// The two below them are written from memory of the files' fields; that their weights then number
// what the publishers say is checked.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <numbers>
#include <string>

#include "core/error.h"
#include "core/file.h"
#include "load/model_config.h"
#include "tests/load/checkpoint_builder.h"

namespace pith {
namespace {

using testing::ErrorOf;

ModelConfig Saved(const std::string& type) {
  const std::filesystem::path path =
      std::filesystem::path(PITH_SOURCE_DIR) / "tests/load/data/blocks" / (type + "-5.24.0.json");
  return LoadModelConfig(path);
}
ModelConfig Parse(const std::string& text) { return ParseModelConfig(text, "config.json"); }

template <class Kind>
const Kind& LayerOf(const ModelConfig& c, size_t l) {
  return std::get<Kind>(c.layers.at(l));
}

void ExpectHeads(const AttentionConfig& c, int64_t heads, int64_t kv_heads, int64_t head_dim) {
  EXPECT_EQ(c.n_heads, heads);
  EXPECT_EQ(c.n_kv_heads, kv_heads);
  EXPECT_EQ(c.head_dim, head_dim);
}

// Weights of blocks of attention and a gated MLP, and what stands around them.
int64_t CountWeights(const ModelConfig& c) {
  const int64_t d = c.d_model;
  int64_t sum = c.vocab_size * d * (c.tie_embeddings ? 1 : 2) + d;
  for (const LayerConfig& layer : c.layers) {
    sum += d;  // the norm
    if (const auto* a = std::get_if<AttentionConfig>(&layer)) {
      sum += 2 * d * (a->q_width() + a->kv_width());
      sum += a->qkv_bias ? a->q_width() + 2 * a->kv_width() : 0;
      sum += a->qk_norm ? 2 * a->head_dim : 0;
    } else {
      sum += 3 * d * std::get<MlpConfig>(layer).d_hidden;
    }
  }
  return sum;
}

TEST(BlockConfigs, Llama) {
  const ModelConfig c = Saved("llama");  // Llama-2-7b
  EXPECT_EQ(c.d_model, 4096);
  EXPECT_EQ(c.n_layer(), 64);
  EXPECT_EQ(c.vocab_size, 32000);
  EXPECT_EQ(c.norm_eps, 1e-6F);
  EXPECT_FALSE(c.tie_embeddings);
  EXPECT_EQ(c.NormEps(), c.norm_eps);
  EXPECT_EQ(c.EmbeddingFactor(), 1);
  const auto& attention = LayerOf<AttentionConfig>(c, 62);
  ExpectHeads(attention, 32, 32, 128);
  EXPECT_FALSE(attention.qkv_bias || attention.out_bias);
  EXPECT_EQ(attention.window, 0);
  EXPECT_EQ(attention.scale, static_cast<float>(1 / std::sqrt(128.0)));
  ASSERT_EQ(attention.rope.size(), 64U);
  EXPECT_EQ(attention.rope[0], 1);
  EXPECT_NEAR(attention.rope[63], std::pow(10000, -126.0 / 128), 1e-11);
  const auto& mlp = LayerOf<MlpConfig>(c, 63);
  EXPECT_EQ(mlp.d_hidden, 11008);
  EXPECT_TRUE(mlp.gated && mlp.activation == MlpActivation::kSilu && !mlp.bias);
  EXPECT_EQ(CountWeights(c), 6738415616);
  EXPECT_EQ(c.Describe(),
            "llama, 64 layers, d_model 4096; 32 attention, 32 heads of 128 over 32 with rotation; "
            "32 MLP, width 11008; vocabulary 32000");
}

TEST(BlockConfigs, Llama32Of1B) {
  const ModelConfig c = Parse(R"({"architectures": ["LlamaForCausalLM"], "attention_bias": false,
      "attention_dropout": 0.0, "bos_token_id": 128000, "eos_token_id": 128001, "head_dim": 64,
      "hidden_act": "silu", "hidden_size": 2048, "initializer_range": 0.02,
      "intermediate_size": 8192, "max_position_embeddings": 131072, "mlp_bias": false,
      "model_type": "llama", "num_attention_heads": 32, "num_hidden_layers": 16,
      "num_key_value_heads": 8, "pretraining_tp": 1, "rms_norm_eps": 1e-05,
      "rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
        "original_max_position_embeddings": 8192, "rope_type": "llama3"},
      "rope_theta": 500000.0, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
      "transformers_version": "4.45.0.dev0", "use_cache": true, "vocab_size": 128256})");
  EXPECT_EQ(CountWeights(c), 1235814400);
  const auto& attention = LayerOf<AttentionConfig>(c, 0);
  ExpectHeads(attention, 32, 8, 64);
  // Short waves stay, long ones are 32 times as long; a wave of 8192 / 2.5 is half of the way from
  // one to the other: 2.5 = 1 + (4 − 1) / 2.
  EXPECT_NEAR(attention.rope[0], 1, 1e-7);
  const double last = std::pow(500000, -62.0 / 64);
  EXPECT_NEAR(attention.rope[31], last / 32, 1e-6 * last / 32);
  for (size_t i = 0; i < attention.rope.size(); ++i) {
    const double plain = std::pow(500000, -2.0 * static_cast<double>(i) / 64);
    const double turns = 8192 * plain / (2 * std::numbers::pi);
    const double smooth = std::clamp((turns - 1) / 3, 0.0, 1.0);
    EXPECT_NEAR(attention.rope[i], plain * (smooth + (1 - smooth) / 32), 1e-6 * plain) << i;
  }
}

TEST(BlockConfigs, Qwen2) {
  const ModelConfig c = Saved("qwen2");
  EXPECT_EQ(c.vocab_size, 151936);
  const auto& attention = LayerOf<AttentionConfig>(c, 0);
  ExpectHeads(attention, 32, 32, 128);
  EXPECT_TRUE(attention.qkv_bias);
  EXPECT_FALSE(attention.out_bias);
  EXPECT_EQ(LayerOf<AttentionConfig>(c, 62).window, 0);
}

TEST(BlockConfigs, Qwen3) {
  const ModelConfig c = Saved("qwen3");
  const auto& attention = LayerOf<AttentionConfig>(c, 0);
  ExpectHeads(attention, 32, 32, 128);
  EXPECT_TRUE(attention.qk_norm);
  EXPECT_FALSE(attention.qkv_bias || attention.out_bias);
}

// Qwen3-0.6B, whose heads are wider than d_model / heads, from memory.
TEST(BlockConfigs, Qwen3Of600M) {
  const ModelConfig c = Parse(R"({"architectures": ["Qwen3ForCausalLM"], "attention_bias": false,
      "attention_dropout": 0.0, "bos_token_id": 151643, "eos_token_id": 151645, "head_dim": 128,
      "hidden_act": "silu", "hidden_size": 1024, "initializer_range": 0.02,
      "intermediate_size": 3072, "max_position_embeddings": 40960, "max_window_layers": 28,
      "model_type": "qwen3", "num_attention_heads": 16, "num_hidden_layers": 28,
      "num_key_value_heads": 8, "rms_norm_eps": 1e-06, "rope_scaling": null,
      "rope_theta": 1000000, "sliding_window": null, "tie_word_embeddings": true,
      "torch_dtype": "bfloat16", "transformers_version": "4.51.0", "use_cache": true,
      "use_sliding_window": false, "vocab_size": 151936})");
  ExpectHeads(LayerOf<AttentionConfig>(c, 54), 16, 8, 128);
  EXPECT_EQ(CountWeights(c), 596049920);
}

TEST(BlockConfigs, Qwen25Of500M) {
  const std::string text = R"({"architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0,
      "bos_token_id": 151643, "eos_token_id": 151645, "hidden_act": "silu", "hidden_size": 896,
      "initializer_range": 0.02, "intermediate_size": 4864, "max_position_embeddings": 32768,
      "max_window_layers": 21, "model_type": "qwen2", "num_attention_heads": 14,
      "num_hidden_layers": 24, "num_key_value_heads": 2, "rms_norm_eps": 1e-06,
      "rope_theta": 1000000.0, "sliding_window": 32768, "tie_word_embeddings": true,
      "torch_dtype": "bfloat16", "transformers_version": "4.43.1", "use_cache": true,
      "use_sliding_window": false, "vocab_size": 151936})";
  const ModelConfig c = Parse(text);
  EXPECT_EQ(CountWeights(c), 494032768);
  EXPECT_EQ(LayerOf<AttentionConfig>(c, 46).window, 0);
  std::string windowed = text;
  windowed.replace(windowed.find("window\": false"), 14, "window\": true");
  const ModelConfig w = Parse(windowed);
  EXPECT_EQ(LayerOf<AttentionConfig>(w, 40).window, 0);
  EXPECT_EQ(LayerOf<AttentionConfig>(w, 42).window, 32768);
}

TEST(BlockConfigs, Granite) {
  const ModelConfig c = Saved("granite");
  EXPECT_EQ(c.embedding_scale, 1);
  EXPECT_EQ(LayerOf<AttentionConfig>(c, 0).scale, 1);  // as the class has it, not 1/√head_dim
  const ModelConfig scaled = Parse(R"({"model_type": "granite", "hidden_size": 32,
      "num_hidden_layers": 1, "vocab_size": 16, "num_attention_heads": 4, "intermediate_size": 8,
      "rms_norm_eps": 1e-5, "embedding_multiplier": 12, "residual_multiplier": 0.5,
      "attention_multiplier": 0.015625, "logits_scaling": 8})");
  EXPECT_EQ(scaled.EmbeddingFactor(), 24);
  EXPECT_EQ(scaled.NormEps(), 4e-5F);
  EXPECT_EQ(scaled.logits_scale, 0.125F);
  EXPECT_EQ(LayerOf<AttentionConfig>(scaled, 0).scale, 0.015625F);
}

TEST(BlockConfigs, GraniteMoeHybrid) {
  const ModelConfig c = Saved("granitemoehybrid");
  EXPECT_EQ(c.n_layer(), 64);
  const auto& mamba = LayerOf<Mamba2Config>(c, 0);
  EXPECT_EQ(mamba.d_inner, 8192);
  EXPECT_EQ(mamba.n_heads, 128);
  EXPECT_EQ(mamba.head_dim, 64);
  EXPECT_EQ(mamba.d_state, 256);
  EXPECT_EQ(mamba.gated_norm_group, 8192);
  EXPECT_EQ(mamba.gated_norm_eps, 1e-6F);
  const auto& experts = LayerOf<ExpertsConfig>(c, 1);
  EXPECT_EQ(experts.n_experts, 8);
  EXPECT_EQ(experts.chosen, 2);
  EXPECT_EQ(experts.expert.d_hidden, 11008);
  EXPECT_EQ(experts.shared.d_hidden, 1024);
  EXPECT_EQ(experts.router, ExpertRouter::kSoftmaxOfChosen);
}

TEST(BlockConfigs, Bamba) {
  const ModelConfig c = Saved("bamba");
  EXPECT_EQ(c.n_layer(), 64);
  EXPECT_EQ(LayerOf<Mamba2Config>(c, 0).d_inner, 8192);
  EXPECT_EQ(LayerOf<MlpConfig>(c, 1).d_hidden, 14336);
  // Bamba-9B attends in three blocks.
  std::string text =
      ReadFile(std::filesystem::path(PITH_SOURCE_DIR) / "tests/load/data/blocks/bamba-5.24.0.json");
  const std::string none = "\"attn_layer_indices\": null";
  text.replace(text.find(none), none.size(), "\"attn_layer_indices\": [9, 18, 27]");
  const ModelConfig hybrid = Parse(text);
  const auto& attention = LayerOf<AttentionConfig>(hybrid, 36);
  ExpectHeads(attention, 32, 8, 128);
  EXPECT_EQ(attention.rope.size(), 32U);  // half of a head rotates
  EXPECT_TRUE(std::holds_alternative<Mamba2Config>(hybrid.layers[38]));
}

TEST(BlockConfigs, Jamba) {
  const ModelConfig c = Saved("jamba");  // Jamba-v0.1
  EXPECT_EQ(c.n_layer(), 64);
  std::string blocks;
  for (const LayerConfig& layer : c.layers) blocks += KindName(layer)[0];
  // In eight blocks one attends, the fifth; every other one ends in experts.
  std::string eight;
  for (const char* block : {"MM", "Me", "MM", "Me", "aM", "Me", "MM", "Me"}) eight += block;
  EXPECT_EQ(blocks, eight + eight + eight + eight);
  const auto& mamba = LayerOf<Mamba1Config>(c, 0);
  EXPECT_EQ(mamba.d_inner, 8192);
  EXPECT_EQ(mamba.d_state, 16);
  EXPECT_EQ(mamba.dt_rank, 256);
  EXPECT_TRUE(mamba.bcdt_norm && mamba.bcdt_weights);
  EXPECT_EQ(mamba.bcdt_norm_eps, 1e-6F);
  ExpectHeads(LayerOf<AttentionConfig>(c, 8), 32, 8, 128);
  EXPECT_TRUE(LayerOf<AttentionConfig>(c, 8).rope.empty());
  const auto& experts = LayerOf<ExpertsConfig>(c, 3);
  EXPECT_EQ(experts.n_experts, 16);
  EXPECT_EQ(experts.chosen, 2);
  EXPECT_EQ(experts.router, ExpertRouter::kSoftmaxOfAll);
  EXPECT_FALSE(experts.normalise);
  EXPECT_EQ(experts.shared.d_hidden, 0);
}

TEST(BlockConfigs, FalconH1) {
  const ModelConfig c = Saved("falcon_h1");
  EXPECT_EQ(c.n_layer(), 64);
  const auto& mixer = LayerOf<ParallelConfig>(c, 0);
  EXPECT_EQ(mixer.mamba.d_inner, 1024);
  EXPECT_EQ(mixer.mamba.head_dim, 8);
  EXPECT_FALSE(mixer.mamba.gated_norm || mixer.mamba.scaled());
  ExpectHeads(mixer.attention, 32, 8, 128);
  EXPECT_EQ(mixer.attention.scale, static_cast<float>(1 / std::sqrt(128.0)));
  const ModelConfig scaled = Parse(R"({"model_type": "falcon_h1", "hidden_size": 32,
      "num_hidden_layers": 1, "vocab_size": 16, "num_attention_heads": 4, "intermediate_size": 8,
      "num_key_value_heads": 2, "mamba_d_ssm": 48, "mamba_n_heads": 6, "mamba_d_head": 8,
      "embedding_multiplier": 5.5, "lm_head_multiplier": 0.04, "key_multiplier": 0.5,
      "attention_in_multiplier": 2, "attention_out_multiplier": 0.9, "ssm_in_multiplier": 1.25,
      "ssm_out_multiplier": 0.25, "mlp_multipliers": [0.9, 0.3],
      "ssm_multipliers": [0.35, 0.25, 0.18, 0.5, 0.36]})");
  EXPECT_EQ(scaled.EmbeddingFactor(), 5.5F);
  EXPECT_EQ(scaled.logits_scale, 0.04F);
  const auto& both = LayerOf<ParallelConfig>(scaled, 0);
  EXPECT_EQ(both.attention.scale, static_cast<float>(1 / std::sqrt(8.0)) * 4 * 0.5F);
  EXPECT_EQ(both.attention_scale, 2 * 0.9F);
  EXPECT_EQ(both.mamba_scale, 0.25F);
  EXPECT_EQ(both.mamba.in_scale, 1.25F);
  EXPECT_EQ(both.mamba.out_scales, (std::array{0.35F, 0.25F, 0.18F, 0.5F, 0.36F}));
  EXPECT_EQ(LayerOf<MlpConfig>(scaled, 1).gate_scale, 0.9F);
  EXPECT_EQ(LayerOf<MlpConfig>(scaled, 1).out_scale, 0.3F);
}

TEST(BlockConfigs, Zamba2) {
  const ModelConfig c = Saved("zamba2");
  EXPECT_EQ(c.d_model, 2560);
  EXPECT_EQ(c.n_layer(), 54);
  EXPECT_TRUE(c.tie_embeddings);
  std::vector<int64_t> shared;
  for (int64_t l = 0; l < c.n_layer(); ++l) {
    const auto* layer = std::get_if<SharedBlockConfig>(&c.layers[static_cast<size_t>(l)]);
    if (layer == nullptr) continue;
    EXPECT_EQ(layer->block, 0);
    EXPECT_EQ(layer->use, std::ssize(shared));
    shared.push_back(l);
  }
  EXPECT_EQ(shared, (std::vector<int64_t>{6, 12, 18, 24, 30, 36, 42, 47, 51}));
  const auto& mamba = LayerOf<Mamba2Config>(c, 0);
  EXPECT_EQ(mamba.d_inner, 5120);
  EXPECT_EQ(mamba.n_heads, 8);
  EXPECT_EQ(mamba.d_state, 64);
  EXPECT_EQ(mamba.dt_min, 0.001F);
  EXPECT_TRUE(mamba.gated_norm && mamba.conv_bias && !mamba.proj_bias);
  EXPECT_EQ(mamba.gated_norm_eps, 1e-5F);
  const auto& layer = LayerOf<SharedBlockConfig>(c, 6);
  ExpectHeads(layer.attention, 32, 32, 160);
  EXPECT_EQ(layer.attention.scale, static_cast<float>(1 / std::sqrt(80.0)));
  EXPECT_TRUE(layer.attention.rope.empty());
  EXPECT_EQ(layer.mlp.d_hidden, 10240);
  EXPECT_EQ(layer.mlp.activation, MlpActivation::kGelu);
  EXPECT_EQ(layer.adapter_rank, 128);
  EXPECT_FALSE(layer.attention_adapters);
}

TEST(BlockConfigs, NemotronH) {
  const ModelConfig c = Saved("nemotron_h");
  ASSERT_EQ(c.n_layer(), 4);
  const auto& mamba = LayerOf<Mamba2Config>(c, 0);
  EXPECT_EQ(mamba.d_inner, 8192);
  EXPECT_EQ(mamba.n_groups, 8);
  EXPECT_EQ(mamba.gated_norm_group, 1024);
  EXPECT_EQ(mamba.dt_min, 0.001F);
  const auto& experts = LayerOf<ExpertsConfig>(c, 1);
  EXPECT_EQ(experts.router, ExpertRouter::kSigmoid);
  EXPECT_TRUE(experts.correction && experts.normalise);
  EXPECT_FALSE(experts.expert.gated || experts.shared.gated);
  EXPECT_EQ(experts.expert.activation, MlpActivation::kReluSquared);
  const auto& attention = LayerOf<AttentionConfig>(c, 2);
  ExpectHeads(attention, 32, 8, 128);
  EXPECT_TRUE(attention.rope.empty());
  EXPECT_EQ(LayerOf<MlpConfig>(c, 3).d_hidden, 21504);
}

TEST(BlockConfigs, NemotronLetters) {
  const auto with = [](const std::string& pattern) {
    return Parse(R"({"model_type": "nemotron_h", "hidden_size": 64, "vocab_size": 16,
        "num_attention_heads": 8, "num_hidden_layers": 5,
        "auto_map": {"AutoConfig": "configuration_nemotron_h.NemotronHConfig"}, "hybrid_override_pattern": ")" +
                 pattern + R"("})");
  };
  const ModelConfig c = with("M-*EM");
  std::string kinds;
  for (const LayerConfig& layer : c.layers) kinds += KindName(layer)[0];
  EXPECT_EQ(kinds, "MMaeM");
  EXPECT_NE(ErrorOf([&] { with("M-x"); }).find("hybrid_override_pattern: got \"M-x\""),
            std::string::npos);
  EXPECT_NE(ErrorOf([&] { with(""); }).find("layers_block_type"), std::string::npos);
}

std::string Small(const std::string& type, const std::string& more) {
  return R"({"model_type": ")" + type + R"(", "hidden_size": 32, "num_hidden_layers": 2,
      "vocab_size": 16, "num_attention_heads": 4, "intermediate_size": 8)" +
         more + "}";
}

TEST(BlockConfigs, RefusesWhatItDoesNotCompute) {
  const auto expect = [](const std::string& type, const std::string& more, const char* what) {
    const std::string error = ErrorOf([&] { Parse(Small(type, more)); });
    EXPECT_NE(error.find(what), std::string::npos) << error;
    EXPECT_TRUE(error.starts_with("config.json: ")) << error;
  };
  EXPECT_NO_THROW(Parse(Small("llama", "")));
  expect("llama", R"(, "rope_scaling": {"type": "dynamic", "factor": 2})",
         "rope_scaling.type: got \"dynamic\"");
  expect("llama", R"(, "rope_parameters": {"rope_type": "longrope", "factor": 2})",
         "rope_parameters.rope_type: got \"longrope\"");
  expect("llama", R"(, "rope_scaling": {"rope_type": "llama3", "factor": 8})", "low_freq_factor");
  expect("llama", R"(, "rope_parameters": {"rope_type": "linear", "factor": 0})",
         "rope_parameters.factor: got 0");
  expect("llama", R"(, "rope_parameters": {"surprise": 1})", "rope_parameters.surprise");
  expect("llama", R"(, "rope_theta": -1)", "rope_theta: got -1");
  expect("llama", R"(, "partial_rotary_factor": 0.2)", "partial_rotary_factor");
  expect("llama", R"(, "hidden_act": "gelu")", "hidden_act: got \"gelu\"");
  expect("llama", R"(, "num_key_value_heads": 3)", "num_key_value_heads: got 3");
  expect("llama", R"(, "sliding_window": 5)", "sliding_window: this option is not known");
  expect("llama", R"(, "auto_map": {"AutoConfig": "a.B"})", "auto_map: got");
  expect("llama", R"(, "surprise": 5)", "surprise: this option is not known");
  expect("qwen2", R"(, "layer_types": ["full_attention"])", "layer_types");
  expect("granite", R"(, "residual_multiplier": 0)", "residual_multiplier: got 0");
  expect("granitemoehybrid", R"(, "mamba_n_heads": 8, "layer_types": ["mamba", "mlp"])",
         "layer_types");
  expect("granitemoehybrid", R"(, "mamba_n_heads": 8, "position_embedding_type": "alibi")",
         "position_embedding_type: got \"alibi\"");
  expect("granitemoehybrid", R"(, "mamba_n_heads": 7)", "mamba_n_heads: got 7");
  expect("bamba", R"(, "mamba_n_heads": 8, "num_key_value_heads": 4, "attn_layer_indices": [2])",
         "attn_layer_indices: got [2]");
  expect("nemotron_h", R"(, "hybrid_override_pattern": "ME", "moe_latent_size": 4)",
         "moe_latent_size: got 4");
  expect("nemotron_h", R"(, "hybrid_override_pattern": "ME", "n_group": 3)", "n_group: got 3");
  expect("jamba", R"(, "num_key_value_heads": 4, "attn_layer_offset": 8)",
         "attn_layer_offset: got 8");
  expect("falcon_h1", R"(, "num_key_value_heads": 4, "mamba_n_heads": 8, "mlp_multipliers": [1])",
         "mlp_multipliers: got [1]");
  expect("falcon_h1", R"(, "num_key_value_heads": 4, "mamba_n_heads": 8, "projectors_bias": true)",
         "projectors_bias: got true");
  EXPECT_NO_THROW(Parse(Small("zamba2", R"(, "layers_block_type": ["mamba", "hybrid"])")));
  for (const auto& [more, what] :
       {std::pair{R"("layers_block_type": ["mamba"])", "layers_block_type: got [\"mamba\"]"},
        {R"("layers_block_type": ["mamba", "mlp"])", "layers_block_type: got"},
        {R"("adapter_rank": 4)", "num_hidden_layers: got 2"},
        {R"("use_long_context": true)", "use_long_context: got true"},
        {R"("hidden_act": "silu")", "hidden_act: got \"silu\""},
        {R"("n_mamba_heads": 7)", "n_mamba_heads: got 7"},
        {R"("mamba_headdim": 9)", "mamba_headdim: got 9"},
        {R"("attention_hidden_size": 32)", "attention_hidden_size: got 32"},
        {R"("attention_head_dim": 8)", "attention_head_dim: got 8"},
        {R"("num_key_value_heads": 2, "use_shared_attention_adapter": true)",
         "num_key_value_heads: got 2"},
        {R"("layers_block_type": ["mamba", "hybrid"], "hybrid_layer_ids": [0])",
         "hybrid_layer_ids: got [0]"}}) {
    expect("zamba2", StrCat(", ", more), what);
  }
  expect("gpt2", "", "model_type: got \"gpt2\"");
}

}  // namespace
}  // namespace pith
