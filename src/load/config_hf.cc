// config.json of transformers' MambaForCausalLM, Mamba2ForCausalLM and FalconMambaForCausalLM, and
// the choice among all that transformers publishes.
// Names, defaults and meaning are those of its Config classes and of their forward in PyTorch: what
// that forward does not read (rms_norm and norm_before_gate of mamba2, say) has no effect here.
// docs/formats/config.md has the table of which field wins where two compete.
#include <span>
#include <string>

#include "core/error.h"
#include "load/config_base_class.h"
#include "load/config_fields.h"

namespace pith {
namespace {

// Initialisation, the choice among kernels, the dtype of the residual branch (always f32 here), and
// mamba_ssm's own keys, which conversion left behind and which transformers does not read. Wrong
// ones among these cannot pass: the shapes of all weights are checked.
constexpr std::string_view kWithoutEffect[] = {
    "initializer_range", "rescale_prenorm_residual",
    "residual_in_fp32",  "time_step_init_scheme",
    "time_step_min",     "time_step_max",
    "time_step_floor",   "time_step_scale",
    "rms_norm",          "use_associative_scan",
    "use_mambapy",       "use_falcon_mambapy",
    "d_inner",           "d_model",
    "fused_add_norm",    "n_layer",
    "norm_before_gate",  "pad_vocab_size_multiple",
    "ssm_cfg",
};
constexpr const char* kModelTypes =
    "mamba, mamba2, falcon_mamba, llama, qwen2, qwen3, granite, granitemoehybrid, bamba, "
    "nemotron_h, jamba, falcon_h1, zamba2";
constexpr std::string_view kMamba1WithoutEffect[] = {"expand", "time_step_limit"};
constexpr std::string_view kMamba2WithoutEffect[] = {"intermediate_size", "time_step_rank"};

// The classes of mamba and falcon_mamba set intermediate_size to expand * hidden_size, then let the
// file's own value replace it; their mixers read intermediate_size. So `expand` counts only where
// the file has no intermediate_size. (tiiuae/falcon-mamba-7b says 4096, 8192 and expand 16.)
int64_t InnerWidthMamba1(ConfigFields& top, int64_t d_model) {
  if (top.Has("intermediate_size")) return top.Size("intermediate_size");
  return top.InnerWidth("expand", d_model);
}

Mamba1Config ReadMamba1(ConfigFields& top, const MambaConfig& common, int64_t d_model,
                        bool falcon) {
  Mamba1Config mixer{common};
  mixer.d_inner = InnerWidthMamba1(top, d_model);
  mixer.d_state = top.Size("state_size", 16, kMaxDim);
  mixer.dt_rank = top.DtRank("time_step_rank", d_model);
  if (!falcon) return mixer;
  mixer.bcdt_norm = true;
  mixer.bcdt_norm_eps = top.Epsilon("mixer_rms_eps", 1e-6f);
  return mixer;
}

// Here the mixer reads `expand`, and an intermediate_size that the file may have is ignored.
Mamba2Config ReadMamba2(ConfigFields& top, const MambaConfig& common, const ModelConfig& config) {
  Mamba2Config mixer{common};
  mixer.d_inner = top.InnerWidth("expand", config.d_model);
  mixer.d_state = top.Size("state_size", 128, kMaxDim);
  mixer.n_heads = top.Size("num_heads", 128, kMaxDim);
  mixer.head_dim = top.Size("head_dim", 64, kMaxDim);
  mixer.n_groups = top.Size("n_groups", 8, kMaxDim);
  mixer.chunk_size = top.Size("chunk_size", 256, kMaxDim);
  if (mixer.n_heads * mixer.head_dim != mixer.d_inner) {
    top.Fail("num_heads", StrCat("num_heads * head_dim = expand * hidden_size = ", mixer.d_inner));
  }
  top.DtLimit("time_step_limit", mixer);
  mixer.gated_norm = true;
  mixer.gated_norm_eps = config.norm_eps;
  // Until 5.22 transformers took one mean over the whole width, whatever n_groups is; since 5.23 it
  // takes one a group, as mamba_ssm does. A file means what the version that wrote it computed.
  mixer.gated_norm_group = mixer.d_inner;
  if (WrittenSince(top, 5, 23)) mixer.gated_norm_group /= mixer.n_groups;
  return mixer;
}

}  // namespace

ModelConfig ParseHuggingFaceConfig(const Json& json, const std::string& source) {
  ConfigFields top(json, source);
  ModelConfig config;
  config.format = top.String("model_type", "");
  if (ReadTransformer(top, config) || ReadHybrid(top, config) || ReadMixedHybrid(top, config)) {
    return config;
  }
  const bool mamba2 = config.format == "mamba2";
  const bool falcon = config.format == "falcon_mamba";
  if (!mamba2 && !falcon && config.format != "mamba") {
    top.Unsupported("model_type", StrCat("one of ", kModelTypes));
  }
  config.d_model = top.Size("hidden_size");
  const int64_t n_layer = top.Size("num_hidden_layers", 1 << 14);
  config.vocab_size = top.Size("vocab_size", int64_t{1} << 24);
  MambaConfig mixer;
  mixer.d_conv = top.Size("conv_kernel", 4, 8);
  config.norm_eps = top.Epsilon("layer_norm_epsilon", 1e-5f);
  mixer.proj_bias = top.Bool("use_bias", false);
  mixer.conv_bias = top.Bool("use_conv_bias", true);
  config.tie_embeddings = top.Bool("tie_word_embeddings", !mamba2);
  config.eos_token_ids = top.TokenIds("eos_token_id", config.vocab_size);
  const std::string activation = top.String("hidden_act", "silu");
  if (activation != "silu" && activation != "swish") top.Unsupported("hidden_act", "\"silu\"");
  const LayerConfig layer = mamba2 ? LayerConfig(ReadMamba2(top, mixer, config))
                                   : LayerConfig(ReadMamba1(top, mixer, config.d_model, falcon));
  config.layers.assign(n_layer, layer);
  RequireNeutralBaseClass(top);
  top.Finish({BaseClassWithoutEffect(), kWithoutEffect,
              mamba2 ? std::span(kMamba2WithoutEffect) : std::span(kMamba1WithoutEffect)});
  return config;
}

}  // namespace pith
