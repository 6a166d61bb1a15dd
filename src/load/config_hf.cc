// config.json of transformers' MambaForCausalLM, Mamba2ForCausalLM and FalconMambaForCausalLM.
// Names, defaults and meaning are those of its Config classes and of their forward in PyTorch: what
// that forward does not read (rms_norm and norm_before_gate of mamba2, say) has no effect here.
#include <string>

#include "core/error.h"
#include "load/config_fields.h"

namespace pith {
namespace {

// Keys of the base class, precision (the residual stream is always f32 here), initialisation, the
// choice among kernels, and keys that conversion from mamba_ssm left behind.
constexpr std::string_view kWithoutEffect[] = {
    "architectures",
    "torch_dtype",
    "dtype",
    "transformers_version",
    "_name_or_path",
    "name_or_path",
    "bos_token_id",
    "pad_token_id",
    "sep_token_id",
    "use_cache",
    "return_dict",
    "output_hidden_states",
    "output_attentions",
    "_attn_implementation_autoset",
    "problem_type",
    "is_decoder",
    "is_encoder_decoder",
    "chunk_size_feed_forward",
    "id2label",
    "label2id",
    "initializer_range",
    "rescale_prenorm_residual",
    "residual_in_fp32",
    "time_step_init_scheme",
    "time_step_min",
    "time_step_max",
    "time_step_floor",
    "time_step_scale",
    "use_associative_scan",
    "use_mambapy",
    "rms_norm",
    "fused_add_norm",
    "pad_vocab_size_multiple",
    "ssm_cfg",
};
constexpr std::string_view kMamba1WithoutEffect[] = {"time_step_limit"};
constexpr std::string_view kMamba2WithoutEffect[] = {"time_step_rank", "norm_before_gate"};
constexpr std::string_view kFalconWithoutEffect[] = {"use_falcon_mambapy", "use_associative_scan",
                                                     "time_step_limit"};

void ReadMamba1(ConfigFields& top, ModelConfig& config) {
  config.kind = BlockKind::kMamba1;
  config.d_state = top.Size("state_size", 16, kMaxDim);
  config.dt_rank = top.DtRank("time_step_rank", config.d_model);
}

void ReadMamba2(ConfigFields& top, ModelConfig& config) {
  config.kind = BlockKind::kMamba2;
  config.d_state = top.Size("state_size", 128, kMaxDim);
  config.n_heads = top.Size("num_heads", 128, kMaxDim);
  config.head_dim = top.Size("head_dim", 64, kMaxDim);
  config.n_groups = top.Size("n_groups", 8, kMaxDim);
  config.chunk_size = top.Size("chunk_size", 256, kMaxDim);
  if (config.n_heads * config.head_dim != config.d_inner) {
    top.Fail("num_heads", StrCat("num_heads * head_dim = expand * hidden_size = ", config.d_inner));
  }
  top.DtLimit("time_step_limit", config);
  config.gated_norm = true;
  config.gated_norm_eps = config.norm_eps;
  config.gated_norm_group = config.d_inner;  // one mean over the whole width, n_groups or not
}

}  // namespace

ModelConfig ParseHuggingFaceConfig(const Json& json, const std::string& source) {
  ConfigFields top(json, source);
  ModelConfig config;
  config.format = top.String("model_type", "");
  const bool mamba2 = config.format == "mamba2";
  const bool falcon = config.format == "falcon_mamba";
  if (!mamba2 && !falcon && config.format != "mamba") {
    top.Unsupported("model_type", "\"mamba\", \"mamba2\" or \"falcon_mamba\"");
  }
  config.d_model = top.Size("hidden_size");
  config.n_layer = top.Size("num_hidden_layers", 1 << 14);
  config.vocab_size = top.Size("vocab_size", int64_t{1} << 24);
  config.d_inner = top.InnerWidth("expand", config.d_model);
  config.d_conv = top.Size("conv_kernel", 4, 8);
  config.norm_eps = top.Epsilon("layer_norm_epsilon", 1e-5f);
  config.proj_bias = top.Bool("use_bias", false);
  config.conv_bias = top.Bool("use_conv_bias", true);
  config.tie_embeddings = top.Bool("tie_word_embeddings", !mamba2);
  config.eos_token_ids = top.TokenIds("eos_token_id", config.vocab_size);
  const std::string activation = top.String("hidden_act", "silu");
  if (activation != "silu" && activation != "swish") top.Unsupported("hidden_act", "\"silu\"");
  mamba2 ? ReadMamba2(top, config) : ReadMamba1(top, config);
  if (falcon) {
    config.bcdt_norm = true;
    config.bcdt_norm_eps = top.Epsilon("mixer_rms_eps", 1e-6f);
  }
  top.Repeats("intermediate_size", config.d_inner);
  top.Repeats("d_inner", config.d_inner);
  top.Repeats("d_model", config.d_model);
  top.Repeats("n_layer", config.n_layer);
  if (mamba2) {
    top.Finish({kWithoutEffect, kMamba2WithoutEffect});
  } else if (falcon) {
    top.Finish({kWithoutEffect, kFalconWithoutEffect});
  } else {
    top.Finish({kWithoutEffect, kMamba1WithoutEffect});
  }
  return config;
}

}  // namespace pith
