// config.json of transformers' GraniteMoeHybridForCausalLM, BambaForCausalLM and
// NemotronHForCausalLM. The first two are blocks of Mamba-2 or attention and what follows it, each
// of them two layers of pith; Nemotron-H's blocks are single. Names, defaults and meaning are those
// of transformers 5.24's Config classes and of their forward.
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "load/config_blocks.h"
#include "load/config_fields.h"
#include "load/config_rope.h"

namespace pith {
namespace {

bool IsMamba(std::string_view name) { return name == "mamba" || name == "linear_attention"; }
bool IsAttention(std::string_view name) { return name == "attention" || name == "full_attention"; }

void ReadGraniteHybrid(ConfigFields& top, ModelConfig& config) {
  ReadTop(top, "rms_norm_eps", 1e-6F, config);
  const int64_t blocks = top.Size("num_hidden_layers", kMaxLayers);
  Mamba2Config mamba = ReadMamba2(top, top.InnerWidth("mamba_expand", config.d_model));
  SetGatedNorm(config.norm_eps, mamba);
  AttentionConfig attention = ReadHeads(top, config.d_model);
  ReadMultipliers(top, config, attention);
  attention.qkv_bias = attention.out_bias = top.Bool("attention_bias", false);
  const std::string positions = top.String("position_embedding_type", "nope");
  if (positions == "rope") {
    ReadRope(top, 1, top.Size("max_position_embeddings", 2048, int64_t{1} << 31), attention);
  } else if (positions == "nope") {
    SkipRope(top);
  } else {
    top.Unsupported("position_embedding_type", "null, \"nope\" or \"rope\"");
  }
  RequireSilu(top, "hidden_act");
  MlpConfig shared;
  shared.d_hidden = top.Size("shared_intermediate_size", 1024, kMaxDim);
  LayerConfig second = shared;
  const Json* experts = top.Find("num_local_experts");
  if (experts == nullptr || *experts != 0) {
    ExpertsConfig mixture;
    mixture.n_experts = top.Size("num_local_experts", 8, 1 << 14);
    mixture.chosen = top.Size("num_experts_per_tok", 2, mixture.n_experts);
    mixture.expert.d_hidden = top.Size("intermediate_size", 11008, kMaxDim);
    mixture.shared = shared;
    second = mixture;
  }
  std::vector<std::string> names = LayerNames(top, "layer_types");
  if (names.empty()) names = LayerNames(top, "layers_block_type");
  if (names.empty()) names.assign(static_cast<size_t>(blocks), "mamba");
  if (std::ssize(names) != blocks) top.Fail("layer_types", StrCat("a list of ", blocks));
  for (const std::string& name : names) {
    if (!IsMamba(name) && !IsAttention(name)) {
      top.Unsupported("layer_types", "names of Mamba and attention layers");
    }
    config.layers.push_back(IsMamba(name) ? LayerConfig(mamba) : LayerConfig(attention));
    config.layers.push_back(second);
  }
  constexpr std::string_view kWithoutEffect[] = {"intermediate_size", "num_experts_per_tok",
                                                 "layers_block_type", "normalization_function",
                                                 "init_method"};
  FinishConfig(top, kWithoutEffect);
}

void ReadBamba(ConfigFields& top, ModelConfig& config) {
  ReadTop(top, "rms_norm_eps", 1e-5F, config);
  const int64_t blocks = top.Size("num_hidden_layers", kMaxLayers);
  Mamba2Config mamba = ReadMamba2(top, top.InnerWidth("mamba_expand", config.d_model));
  SetGatedNorm(config.norm_eps, mamba);
  AttentionConfig attention = ReadHeads(top, config.d_model, {.kv_heads = 8});
  attention.qkv_bias = attention.out_bias = top.Bool("attention_bias", false);
  // Half of a head rotates, whatever the file says.
  ReadRope(top, 0.5, top.Size("max_position_embeddings", 262144, int64_t{1} << 31), attention);
  RequireSilu(top, "hidden_act");
  MlpConfig mlp;
  mlp.d_hidden = top.Size("intermediate_size");
  mlp.bias = top.Bool("mlp_bias", false);
  std::vector<bool> attends(static_cast<size_t>(blocks), false);
  if (const Json* list = top.Find("attn_layer_indices")) {
    for (const Json& index : list->is_array() ? *list : Json::array({*list})) {
      if (!index.is_number_integer() || index < 0 || index >= blocks) {
        top.Fail("attn_layer_indices", StrCat("a list of blocks from 0 to ", blocks - 1));
      }
      attends[index.get<size_t>()] = true;
    }
  }
  for (const bool attention_here : attends) {
    config.layers.push_back(attention_here ? LayerConfig(attention) : LayerConfig(mamba));
    config.layers.emplace_back(mlp);
  }
  FinishConfig(top, {});
}

// Of Nemotron-H's blocks, spelt out or as letters: M, *, - and E.
std::vector<std::string> NemotronBlocks(ConfigFields& top) {
  std::vector<std::string> names = LayerNames(top, "layers_block_type");
  if (names.empty()) names = LayerNames(top, "layer_types");
  const std::string pattern = top.String("hybrid_override_pattern", "");
  if (!names.empty()) return names;
  for (const char letter : pattern) {
    constexpr std::string_view kLetters = "M*-E";
    constexpr const char* kNames[] = {"mamba", "attention", "mlp", "moe"};
    const size_t at = kLetters.find(letter);
    if (at == kLetters.npos) top.Fail("hybrid_override_pattern", "the letters M, *, - and E");
    names.emplace_back(kNames[at]);
  }
  if (names.empty()) top.Fail("layers_block_type", "the kinds of the blocks");
  if (std::ssize(names) > kMaxLayers) top.Fail("hybrid_override_pattern", "at most 2^14 blocks");
  return names;
}

// Of two names the class takes the older one where a file has it.
const char* Older(ConfigFields& top, const char* older, const char* name) {
  return top.Has(older) ? older : name;
}

Mamba2Config ReadNemotronMamba(ConfigFields& top, const ModelConfig& config) {
  Mamba2Config mixer;
  mixer.d_conv = top.Size(Older(top, "mamba_d_conv", "conv_kernel"), 4, 8);
  mixer.d_state = top.Size("ssm_state_size", 128, kMaxDim);
  mixer.n_heads = top.Size("mamba_num_heads", 128, kMaxDim);
  mixer.head_dim = top.Size("mamba_head_dim", 64, kMaxDim);
  mixer.d_inner = mixer.n_heads * mixer.head_dim;
  if (mixer.d_inner > kMaxDim) top.Fail("mamba_head_dim", "at most 2^20 / mamba_num_heads");
  mixer.n_groups = top.Size(Older(top, "mamba_n_groups", "n_groups"), 8, kMaxDim);
  mixer.chunk_size = top.Size(Older(top, "mamba_chunk_size", "chunk_size"), 128, kMaxDim);
  mixer.conv_bias = top.Bool(Older(top, "mamba_conv_bias", "use_conv_bias"), true);
  mixer.proj_bias = top.Bool("use_bias", false);
  // What the forward clamps step sizes to; time_step_limit it does not read.
  mixer.dt_min = top.Epsilon(Older(top, "mamba_dt_min", "time_step_min"), 0.001F);
  RequireSilu(top, "mamba_hidden_act");
  SetGatedNorm(config.norm_eps, mixer);
  return mixer;
}

ExpertsConfig ReadNemotronExperts(ConfigFields& top, const MlpConfig& mlp) {
  ExpertsConfig mixture;
  mixture.router = ExpertRouter::kSigmoid;
  mixture.correction = true;
  mixture.n_experts = top.Size(Older(top, "num_local_experts", "n_routed_experts"), 8, 1 << 14);
  mixture.chosen = top.Size("num_experts_per_tok", 2, mixture.n_experts);
  mixture.normalise = top.Bool("norm_topk_prob", true);
  mixture.scale = PositiveNumber(top, "routed_scaling_factor", 1);
  mixture.groups = top.Size("n_group", 1, mixture.n_experts);
  mixture.chosen_groups = top.Size("topk_group", 1, mixture.groups);
  mixture.expert = mixture.shared = mlp;
  mixture.expert.bias = false;
  mixture.expert.d_hidden = top.Size("moe_intermediate_size", 7688, kMaxDim);
  mixture.shared.d_hidden = top.Size("moe_shared_expert_intermediate_size", 7688, kMaxDim);
  if (mixture.n_experts % mixture.groups != 0) {
    top.Fail("n_group", StrCat("a divisor of n_routed_experts = ", mixture.n_experts));
  }
  if (mixture.chosen > mixture.n_experts / mixture.groups * mixture.chosen_groups) {
    top.Fail("num_experts_per_tok", "at most the experts of topk_group groups");
  }
  if (top.Has("moe_latent_size")) top.Unsupported("moe_latent_size", "null");
  return mixture;
}

void ReadNemotron(ConfigFields& top, ModelConfig& config) {
  ReadTop(top, "layer_norm_epsilon", 1e-5F, config);
  const Mamba2Config mamba = ReadNemotronMamba(top, config);
  // Its attention has neither rotation, nor biases, nor a window, whatever the file says.
  const AttentionConfig attention =
      ReadHeads(top, config.d_model, {.kv_heads = 8, .head_dim = 128});
  SkipRope(top);
  MlpConfig mlp;
  mlp.d_hidden = top.Size("intermediate_size", 21504, kMaxDim);
  mlp.gated = false;
  mlp.activation = MlpActivation::kReluSquared;
  mlp.bias = top.Bool("mlp_bias", false);
  if (top.String("mlp_hidden_act", "relu2") != "relu2") top.Unsupported("mlp_hidden_act", "relu2");
  const ExpertsConfig experts = ReadNemotronExperts(top, mlp);
  for (const std::string& name : NemotronBlocks(top)) {
    if (IsMamba(name)) {
      config.layers.emplace_back(mamba);
    } else if (IsAttention(name)) {
      config.layers.emplace_back(attention);
    } else if (name == "mlp") {
      config.layers.emplace_back(mlp);
    } else if (name == "moe") {
      config.layers.emplace_back(experts);
    } else {
      top.Unsupported("layers_block_type", "mamba, attention, mlp and moe");
    }
  }
  // More of the published files: other spellings of what the blocks say, initialisation, and heads
  // that predict several tokens, which a forward of one does not run.
  constexpr std::string_view kWithoutEffect[] = {"attention_bias",
                                                 "attention_head_dim",
                                                 "expand",
                                                 "chunk_size",
                                                 "conv_kernel",
                                                 "mamba_dt_init_floor",
                                                 "mamba_dt_limit",
                                                 "mamba_dt_max",
                                                 "mamba_expand",
                                                 "mamba_proj_bias",
                                                 "n_groups",
                                                 "n_routed_experts",
                                                 "time_step_min",
                                                 "use_conv_bias",
                                                 "mamba_ssm_cache_dtype",
                                                 "moe_shared_expert_overlap",
                                                 "mtp_layers_block_type",
                                                 "time_step_rank",
                                                 "mtp_hybrid_override_pattern",
                                                 "n_shared_experts",
                                                 "norm_eps",
                                                 "num_hidden_layers",
                                                 "num_nextn_predict_layers",
                                                 "sliding_window",
                                                 "time_step_floor",
                                                 "time_step_limit",
                                                 "time_step_max",
                                                 "hidden_act"};
  FinishConfig(top, kWithoutEffect, /*own_code=*/true);
}

}  // namespace

bool ReadHybrid(ConfigFields& top, ModelConfig& config) {
  if (config.format == "granitemoehybrid") {
    ReadGraniteHybrid(top, config);
  } else if (config.format == "bamba") {
    ReadBamba(top, config);
  } else if (config.format == "nemotron_h") {
    ReadNemotron(top, config);
  } else {
    return false;
  }
  return true;
}

}  // namespace pith
