// config.json of transformers' JambaForCausalLM, blocks of Mamba-1 or attention and an MLP or
// experts, FalconH1ForCausalLM, blocks of Mamba-2 beside attention and an MLP: two layers of
// pith each; and Zamba2ForCausalLM, blocks of Mamba-2, some behind a shared block: one each. Names,
// defaults and meaning are those of transformers 5.24's Config classes and of their forward.
#include <algorithm>
#include <cmath>
#include <string>
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
  const char* const count = top.Has("num_local_experts") ? "num_local_experts" : "num_experts";
  experts.n_experts = top.Size(count, 16, 1 << 14);
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
  constexpr std::string_view kWithoutEffect[] = {"calc_logits_for_entire_prompt",
                                                 "layers_block_type",
                                                 "mamba_inner_layernorms",
                                                 "num_experts",
                                                 "sliding_window",
                                                 "use_associative_scan",
                                                 "use_mambapy"};
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

// A size that the file may say, although it follows from others.
void RequireSize(ConfigFields& top, const char* key, int64_t size) {
  if (top.Has(key) && top.Size(key) != size) top.Unsupported(key, StrCat(size));
}

// Of Zamba2's blocks, whether each has a shared block in front: layers_block_type, or where there
// is none the pattern of Zamba2-2.7B, as transformers has it.
std::vector<bool> ZambaBlocks(ConfigFields& top, int64_t blocks) {
  std::vector<bool> shared;
  const bool other = !top.Has("layers_block_type") && top.Has("layer_types");
  const char* const key = other ? "layer_types" : "layers_block_type";
  const std::vector<std::string> names = LayerNames(top, key);
  for (const std::string& name : names) {
    if (name != "mamba" && name != "linear_attention" && name != "hybrid") {
      top.Unsupported(key, "names of mamba and hybrid layers");
    }
    shared.push_back(name == "hybrid");
  }
  if (names.empty()) {
    shared.assign(54, false);
    for (const size_t b : {6, 12, 18, 24, 30, 36, 42, 47, 51}) shared[b] = true;
  }
  if (std::ssize(shared) != blocks) {
    top.Fail(
        names.empty() ? "num_hidden_layers" : key,
        names.empty() ? std::string("54, or layers_block_type") : StrCat("a list of ", blocks));
  }
  Json ids = Json::array();
  for (size_t b = 0; b < shared.size(); ++b) {
    if (shared[b]) ids.push_back(b);
  }
  const Json* given = top.Find("hybrid_layer_ids");
  if (given != nullptr && *given != ids) {
    top.Unsupported("hybrid_layer_ids", "the hybrid layers of layers_block_type");
  }
  return shared;
}

Mamba2Config ReadZambaMamba(ConfigFields& top, const ModelConfig& config) {
  Mamba2Config mixer;
  mixer.d_inner = top.InnerWidth("mamba_expand", config.d_model);
  mixer.d_state = top.Size("mamba_d_state", 64, kMaxDim);
  mixer.d_conv = top.Size("mamba_d_conv", 4, 8);
  mixer.n_groups = top.Size("mamba_ngroups", 1, kMaxDim);
  mixer.n_heads = top.Size("n_mamba_heads", 8, kMaxDim);
  mixer.chunk_size = top.Size("chunk_size", 256, kMaxDim);
  mixer.proj_bias = top.Bool("add_bias_linear", false);
  mixer.head_dim = mixer.d_inner / mixer.n_heads;
  if (mixer.head_dim * mixer.n_heads != mixer.d_inner) {
    top.Fail("n_mamba_heads", StrCat("a divisor of mamba_expand * hidden_size = ", mixer.d_inner));
  }
  RequireSize(top, "mamba_headdim", mixer.head_dim);
  mixer.dt_min = top.Epsilon("time_step_min", 0.001F);
  SetGatedNorm(1e-5F, mixer);
  return mixer;
}

SharedBlockConfig ReadSharedBlock(ConfigFields& top, const ModelConfig& config) {
  SharedBlockConfig layer;
  layer.mamba = ReadZambaMamba(top, config);
  const int64_t width = 2 * config.d_model;  // the residual branch beside the embedding
  AttentionConfig& heads = layer.attention;
  heads.n_heads = top.Size("num_attention_heads", 32, kMaxDim);
  heads.n_kv_heads = top.Size("num_key_value_heads", heads.n_heads, kMaxDim);
  heads.head_dim = width / heads.n_heads;
  if (heads.head_dim * heads.n_heads != width) {
    top.Fail("num_attention_heads", StrCat("a divisor of 2 * hidden_size = ", width));
  }
  RequireSize(top, "attention_hidden_size", width);
  RequireSize(top, "attention_head_dim", heads.head_dim);
  RequireSize(top, "head_dim", heads.head_dim);
  heads.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(heads.head_dim) / 2));
  // Version 4 slowed the rotation of long contexts, 5 does not.
  if (top.Bool("use_long_context", false)) top.Unsupported("use_long_context", "false");
  if (top.Bool("use_mem_rope", false)) {
    ReadRope(top, 1, top.Size("max_position_embeddings", 4096, int64_t{1} << 31), heads);
  } else {
    SkipRope(top);
  }
  layer.attention_adapters = top.Bool("use_shared_attention_adapter", false);
  if (layer.attention_adapters && heads.n_kv_heads != heads.n_heads) {
    top.Unsupported("num_key_value_heads", StrCat("num_attention_heads = ", heads.n_heads,
                                                  " with use_shared_attention_adapter"));
  }
  layer.adapter_rank = top.Size("adapter_rank", 128, kMaxDim);
  layer.mlp.d_hidden = top.Size("intermediate_size", 4 * config.d_model, kMaxDim);
  layer.mlp.bias = layer.mamba.proj_bias;
  layer.mlp.activation = MlpActivation::kGelu;
  if (top.String("hidden_act", "gelu") != "gelu") top.Unsupported("hidden_act", "\"gelu\"");
  return layer;
}

void ReadZamba2(ConfigFields& top, ModelConfig& config) {
  ReadTop(top, "rms_norm_eps", 1e-5F, config);
  config.tie_embeddings = top.Bool("tie_word_embeddings", true);
  SharedBlockConfig layer = ReadSharedBlock(top, config);
  const int64_t shared_blocks = top.Size("num_mem_blocks", 1, kMaxLayers);
  for (const bool shared : ZambaBlocks(top, top.Size("num_hidden_layers", 54, kMaxLayers))) {
    if (!shared) {
      config.layers.emplace_back(layer.mamba);
      continue;
    }
    layer.block = layer.use % shared_blocks;
    config.layers.emplace_back(layer);
    ++layer.use;
  }
  // The convolution has its bias whatever use_conv_bias says.
  constexpr std::string_view kWithoutEffect[] = {
      "kv_channels",   "num_query_groups", "time_step_floor", "time_step_limit",
      "time_step_max", "use_conv_bias",    "use_mem_eff_path"};
  FinishConfig(top, kWithoutEffect);
}

}  // namespace

bool ReadMixedHybrid(ConfigFields& top, ModelConfig& config) {
  if (config.format == "jamba") {
    ReadJamba(top, config);
  } else if (config.format == "falcon_h1") {
    ReadFalconH1(top, config);
  } else if (config.format == "zamba2") {
    ReadZamba2(top, config);
  } else {
    return false;
  }
  return true;
}

}  // namespace pith
