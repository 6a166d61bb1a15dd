#include "load/config_blocks.h"

#include <cmath>

#include "core/error.h"
#include "load/config_base_class.h"

namespace pith {
namespace {

constexpr std::string_view kWithoutEffect[] = {
    "attention_dropout",       "hidden_dropout",           "initializer_range",
    "max_position_embeddings", "num_logits_to_keep",       "pretraining_tp",
    "output_router_logits",    "rescale_prenorm_residual", "residual_in_fp32",
    "router_aux_loss_coef",    "router_jitter_noise",      "use_mamba_kernels",
    "z_loss_coefficient",
};

}  // namespace

void ReadTop(ConfigFields& top, const char* epsilon, float default_epsilon, ModelConfig& config) {
  config.d_model = top.Size("hidden_size");
  config.vocab_size = top.Size("vocab_size", int64_t{1} << 24);
  config.norm_eps = top.Epsilon(epsilon, default_epsilon);
  config.tie_embeddings = top.Bool("tie_word_embeddings", false);
  config.eos_token_ids = top.TokenIds("eos_token_id", config.vocab_size);
}

AttentionConfig ReadHeads(ConfigFields& top, int64_t d_model, const HeadDefaults& defaults) {
  AttentionConfig heads;
  heads.n_heads = top.Size("num_attention_heads");
  // Null is as many as queries, whatever the class takes where the key is absent.
  const bool as_queries = defaults.kv_heads == 0 || top.IsNull("num_key_value_heads");
  heads.n_kv_heads =
      top.Size("num_key_value_heads", as_queries ? heads.n_heads : defaults.kv_heads, kMaxDim);
  int64_t head_dim = defaults.head_dim;
  if (!top.Has("head_dim") && head_dim == 0) {
    head_dim = d_model / heads.n_heads;
    if (head_dim * heads.n_heads != d_model) {
      top.Fail("num_attention_heads", StrCat("a divisor of hidden_size = ", d_model));
    }
  }
  heads.head_dim = top.Size("head_dim", head_dim, kMaxDim);
  if (heads.q_width() > kMaxDim) top.Fail("head_dim", "at most 2^20 / num_attention_heads");
  heads.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(heads.head_dim)));
  return heads;
}

Mamba2Config ReadMamba2(ConfigFields& top, int64_t d_inner) {
  Mamba2Config mixer;
  mixer.d_inner = d_inner;
  mixer.d_conv = top.Size("mamba_d_conv", 4, 8);
  mixer.d_state = top.Size("mamba_d_state", 256, kMaxDim);
  mixer.n_heads = top.Size("mamba_n_heads", 128, kMaxDim);
  mixer.n_groups = top.Size("mamba_n_groups", 1, kMaxDim);
  mixer.chunk_size = top.Size("mamba_chunk_size", 256, kMaxDim);
  mixer.conv_bias = top.Bool("mamba_conv_bias", true);
  mixer.proj_bias = top.Bool("mamba_proj_bias", false);
  mixer.head_dim = d_inner / mixer.n_heads;
  const Json* head = top.Find("mamba_d_head");
  if (head != nullptr && *head != "auto") mixer.head_dim = top.Size("mamba_d_head");
  if (mixer.head_dim * mixer.n_heads != d_inner) {
    top.Fail("mamba_n_heads", StrCat("mamba_n_heads * mamba_d_head = ", d_inner,
                                     ", the width that mamba_expand or mamba_d_ssm gives"));
  }
  top.DtLimit("time_step_limit", mixer);
  return mixer;
}

void SetGatedNorm(float eps, Mamba2Config& mixer) {
  mixer.gated_norm = true;
  mixer.gated_norm_eps = eps;
  mixer.gated_norm_group = mixer.d_inner / mixer.n_groups;
}

void RequireSilu(ConfigFields& top, const char* key) {
  const std::string activation = top.String(key, "silu");
  if (activation != "silu" && activation != "swish") top.Unsupported(key, "\"silu\"");
}

float PositiveNumber(ConfigFields& top, const char* key, float fallback) {
  const double value = top.Has(key) ? top.Number(key, fallback) : fallback;
  if (!(value > 0 && std::isfinite(value))) top.Fail(key, "a finite number above 0");
  return static_cast<float>(value);
}

std::vector<float> PositiveNumbers(ConfigFields& top, const char* key, size_t count) {
  std::vector<float> numbers(count, 1);
  const Json* list = top.Find(key);
  if (list == nullptr) return numbers;
  const bool fits = list->is_array() && list->size() == count;
  for (size_t i = 0; fits && i < count; ++i) {
    if ((*list)[i].is_number()) numbers[i] = (*list)[i].get<float>();
    if (!(*list)[i].is_number() || !(numbers[i] > 0 && std::isfinite(numbers[i]))) numbers.clear();
    if (numbers.empty()) break;
  }
  if (!fits || numbers.empty()) top.Fail(key, StrCat("a list of ", count, " numbers above 0"));
  return numbers;
}

void ReadMultipliers(ConfigFields& top, ModelConfig& config, AttentionConfig& attention) {
  config.embedding_scale = PositiveNumber(top, "embedding_multiplier", 1);
  config.residual_scale = PositiveNumber(top, "residual_multiplier", 1);
  config.logits_scale = 1 / PositiveNumber(top, "logits_scaling", 1);
  attention.scale = PositiveNumber(top, "attention_multiplier", 1);
}

std::vector<std::string> LayerNames(ConfigFields& top, const char* key) {
  const Json* list = top.Find(key);
  std::vector<std::string> names;
  if (list == nullptr) return names;
  if (!list->is_array() || list->empty() || list->size() > static_cast<size_t>(kMaxLayers)) {
    top.Fail(key, "a list of layers' names");
  }
  for (const Json& name : *list) {
    if (!name.is_string()) top.Fail(key, "a list of layers' names");
    names.push_back(name.get<std::string>());
  }
  return names;
}

std::span<const std::string_view> BlocksWithoutEffect() { return kWithoutEffect; }

void FinishConfig(ConfigFields& top, std::span<const std::string_view> without_effect,
                  bool own_code) {
  RequireNeutralBaseClass(top, own_code);
  top.Finish({BaseClassWithoutEffect(), BlocksWithoutEffect(), without_effect});
}

}  // namespace pith
