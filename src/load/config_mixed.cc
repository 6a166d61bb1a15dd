// config.json of transformers' JambaForCausalLM, blocks of Mamba-1 or attention and an MLP or
// experts, and FalconH1ForCausalLM, blocks of Mamba-2 beside attention and an MLP: two layers of
// pith each. Names, defaults and meaning are those of transformers 5.24's Config classes and of
// their forward.
#include <algorithm>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "load/config_blocks.h"
#include "load/config_fields.h"
#include "load/config_rope.h"

namespace pith {
namespace {

// Which blocks are of a kind that comes once in `period`, from `offset` on.
struct Turn {
  int64_t period;
  int64_t offset;
  bool Has(int64_t block) const { return block % period == offset; }
};

Turn ReadTurn(ConfigFields& top, const char* period, int64_t period_fallback, const char* offset,
              int64_t offset_fallback) {
  const int64_t every = top.Size(period, period_fallback, kMaxLayers);
  const double from = top.Number(offset, static_cast<double>(offset_fallback));
  if (!(from >= 0 && from < static_cast<double>(every) && from == static_cast<int64_t>(from))) {
    top.Fail(offset, StrCat("an integer from 0 to ", every - 1));
  }
  return {every, static_cast<int64_t>(from)};
}

void ReadJamba(ConfigFields& top, ModelConfig& config) {
  ReadTop(top, "rms_norm_eps", 1e-6F, config);
  const int64_t blocks = top.Size("num_hidden_layers", kMaxLayers);
  Mamba1Config mamba;
  mamba.d_inner = top.InnerWidth("mamba_expand", config.d_model);
  mamba.d_state = top.Size("mamba_d_state", 16, kMaxDim);
  mamba.d_conv = top.Size("mamba_d_conv", 4, 8);
  mamba.dt_rank = top.DtRank("mamba_dt_rank", config.d_model);
  mamba.conv_bias = top.Bool("mamba_conv_bias", true);
  mamba.proj_bias = top.Bool("mamba_proj_bias", false);
  mamba.bcdt_norm = mamba.bcdt_weights = true;
  mamba.bcdt_norm_eps = config.norm_eps;
  const AttentionConfig attention = ReadHeads(top, config.d_model, {.kv_heads = 8});
  SkipRope(top);
  RequireSilu(top, "hidden_act");
  MlpConfig mlp;
  mlp.d_hidden = top.Size("intermediate_size");
  ExpertsConfig experts;
  experts.expert = mlp;
  experts.n_experts = top.Size("num_experts", 16, 1 << 14);
  experts.chosen = top.Size("num_experts_per_tok", 2, kMaxDim);
  experts.router = ExpertRouter::kSoftmaxOfAll;
  const Turn attends = ReadTurn(top, "attn_layer_period", 8, "attn_layer_offset", 4);
  const Turn mixes = ReadTurn(top, "expert_layer_period", 2, "expert_layer_offset", 1);
  if (experts.n_experts > 1 && experts.chosen > experts.n_experts) {
    top.Fail("num_experts_per_tok", StrCat("at most num_experts = ", experts.n_experts));
  }
  for (int64_t b = 0; b < blocks; ++b) {
    config.layers.push_back(attends.Has(b) ? LayerConfig(attention) : LayerConfig(mamba));
    const bool mixture = experts.n_experts > 1 && mixes.Has(b);
    config.layers.push_back(mixture ? LayerConfig(experts) : LayerConfig(mlp));
  }
  constexpr std::string_view kWithoutEffect[] = {
      "calc_logits_for_entire_prompt", "layers_block_type",
      "mamba_inner_layernorms",        "sliding_window",
      "use_associative_scan",          "use_mambapy"};
  FinishConfig(top, kWithoutEffect);
}

ParallelConfig ReadFalconMixer(ConfigFields& top, const ModelConfig& config) {
  ParallelConfig mixer;
  // The shapes of all weights are checked, so a file that leaves the width open cannot pass wrong.
  const int64_t expanded = top.InnerWidth("mamba_expand", config.d_model);
  mixer.mamba = ReadMamba2(top, top.Size("mamba_d_ssm", expanded, kMaxDim));
  if (top.Bool("projectors_bias", false) != mixer.mamba.proj_bias) {
    top.Unsupported("projectors_bias", "the same as mamba_proj_bias");
  }
  const bool before = top.Bool("mamba_norm_before_gate", true);
  if (top.Bool("mamba_rms_norm", false)) {
    SetGatedNorm(config.norm_eps, mixer.mamba);
    mixer.mamba.norm_before_gate = before;
  }
  const std::vector<float> scales = PositiveNumbers(top, "ssm_multipliers", 5);
  std::ranges::copy(scales, mixer.mamba.out_scales.begin());
  mixer.mamba.in_scale = PositiveNumber(top, "ssm_in_multiplier", 1);
  mixer.mamba_scale = PositiveNumber(top, "ssm_out_multiplier", 1);
  mixer.attention = ReadHeads(top, config.d_model, {.kv_heads = 8});
  AttentionConfig& attention = mixer.attention;
  attention.qkv_bias = attention.out_bias = top.Bool("attention_bias", false);
  ReadRope(top, 1, top.Size("max_position_embeddings", 8192, int64_t{1} << 31), attention);
  // The projections are linear: what multiplies their input multiplies queries, keys and values.
  const float in = PositiveNumber(top, "attention_in_multiplier", 1);
  if (attention.qkv_bias && in != 1) {
    top.Unsupported("attention_bias", "false where attention_in_multiplier is not 1");
  }
  attention.scale *= in * in * PositiveNumber(top, "key_multiplier", 1);
  mixer.attention_scale = in * PositiveNumber(top, "attention_out_multiplier", 1);
  return mixer;
}

void ReadFalconH1(ConfigFields& top, ModelConfig& config) {
  ReadTop(top, "rms_norm_eps", 1e-5F, config);
  const int64_t blocks = top.Size("num_hidden_layers", kMaxLayers);
  config.embedding_scale = PositiveNumber(top, "embedding_multiplier", 1);
  config.logits_scale = PositiveNumber(top, "lm_head_multiplier", 1);
  const ParallelConfig mixer = ReadFalconMixer(top, config);
  RequireSilu(top, "hidden_act");
  MlpConfig mlp;
  mlp.d_hidden = top.Size("intermediate_size");
  mlp.bias = top.Bool("mlp_bias", false);
  const std::vector<float> scales = PositiveNumbers(top, "mlp_multipliers", 2);
  mlp.gate_scale = scales[0];
  mlp.out_scale = scales[1];
  for (int64_t b = 0; b < blocks; ++b) {
    config.layers.emplace_back(mixer);
    config.layers.emplace_back(mlp);
  }
  constexpr std::string_view kWithoutEffect[] = {"attn_layer_indices", "mamba_use_mlp",
                                                 "mlp_expansion_factor"};
  FinishConfig(top, kWithoutEffect);
}

}  // namespace

bool ReadMixedHybrid(ConfigFields& top, ModelConfig& config) {
  if (config.format == "jamba") {
    ReadJamba(top, config);
  } else if (config.format == "falcon_h1") {
    ReadFalconH1(top, config);
  } else {
    return false;
  }
  return true;
}

}  // namespace pith
