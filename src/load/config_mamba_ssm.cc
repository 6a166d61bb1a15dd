// config.json as state-spaces/mamba (package mamba_ssm) writes it. Names and defaults are those of
// its MambaConfig and of the arguments of its modules Mamba and Mamba2.
#include <string>

#include "core/error.h"
#include "load/config_fields.h"

namespace pith {
namespace {

// Precision and fusion of the residual branch (ours is always f32), initialisation, and what
// transformers adds to any config.
constexpr std::string_view kTopWithoutEffect[] = {
    "residual_in_fp32", "fused_add_norm", "initializer_cfg",      "architectures",
    "torch_dtype",      "dtype",          "transformers_version", "bos_token_id",
    "pad_token_id",     "use_cache",
};
// Initialisation, and the choice among kernels that compute the same.
constexpr std::string_view kMixerWithoutEffect[] = {"dt_min", "dt_max", "dt_init_floor"};
constexpr std::string_view kMamba1WithoutEffect[] = {"dt_init", "dt_scale", "use_fast_path"};
constexpr std::string_view kMamba2WithoutEffect[] = {"A_init_range", "conv_init",
                                                     "use_mem_eff_path", "sequence_parallel"};

Mamba2Config ReadMamba2(ConfigFields& ssm, const MambaConfig& common) {
  Mamba2Config mixer{common};
  mixer.d_state = ssm.Size("d_state", 128, kMaxDim);
  mixer.head_dim = ssm.Size("headdim", 64, kMaxDim);
  mixer.n_groups = ssm.Size("ngroups", 1, kMaxDim);
  mixer.chunk_size = ssm.Size("chunk_size", 256, kMaxDim);
  if (ssm.Has("d_ssm") && *ssm.Find("d_ssm") != mixer.d_inner) {
    ssm.Unsupported("d_ssm", StrCat("null or d_inner = ", mixer.d_inner));
  }
  if (mixer.d_inner % mixer.head_dim != 0) {
    ssm.Fail("headdim", StrCat("a divisor of d_inner = ", mixer.d_inner));
  }
  mixer.n_heads = mixer.d_inner / mixer.head_dim;
  mixer.gated_norm = ssm.Bool("rmsnorm", true);
  mixer.norm_before_gate = ssm.Bool("norm_before_gate", false);
  mixer.d_has_hdim = ssm.Bool("D_has_hdim", false);
  ssm.DtLimit("dt_limit", mixer);
  mixer.gated_norm_eps = 1e-5f;  // fixed in mamba_ssm, whatever norm_epsilon is
  mixer.gated_norm_group = mixer.d_inner / mixer.n_groups;
  return mixer;
}

LayerConfig ReadMixer(const Json& object, const std::string& source, int64_t d_model) {
  ConfigFields ssm(object, source, "ssm_cfg.");
  const std::string layer = ssm.String("layer", "Mamba1");
  MambaConfig common;
  common.d_conv = ssm.Size("d_conv", 4, 8);
  common.d_inner = ssm.InnerWidth("expand", d_model);
  common.proj_bias = ssm.Bool("bias", false);
  common.conv_bias = ssm.Bool("conv_bias", true);
  if (layer == "Mamba2") {
    const Mamba2Config mixer = ReadMamba2(ssm, common);
    ssm.Finish({kMixerWithoutEffect, kMamba2WithoutEffect});
    return mixer;
  }
  Mamba1Config mixer{common};
  mixer.d_state = ssm.Size("d_state", 16, kMaxDim);
  mixer.dt_rank = ssm.DtRank("dt_rank", d_model);
  ssm.Finish({kMixerWithoutEffect, kMamba1WithoutEffect});
  return mixer;
}

// Before the rest: files of Mamba-3 have MLPs too, and what their layers are is the better message.
void CheckLayer(const Json& object, const std::string& source) {
  ConfigFields ssm(object, source, "ssm_cfg.");
  const std::string layer = ssm.String("layer", "Mamba1");
  if (layer == "Mamba3") ssm.Unsupported("layer", "\"Mamba1\" or \"Mamba2\": pith has no Mamba-3");
  if (layer != "Mamba1" && layer != "Mamba2") ssm.Unsupported("layer", "\"Mamba1\" or \"Mamba2\"");
}

}  // namespace

ModelConfig ParseMambaSsmConfig(const Json& json, const std::string& source) {
  ConfigFields top(json, source);
  ModelConfig config;
  config.format = "mamba_ssm";
  config.d_model = top.Size("d_model");
  const int64_t n_layer = top.Size("n_layer", 1 << 14);
  const int64_t vocab = top.Size("vocab_size", int64_t{1} << 24);
  const int64_t multiple = top.Size("pad_vocab_size_multiple", 8, kMaxDim);
  config.vocab_size = (vocab + multiple - 1) / multiple * multiple;
  config.layer_norm = !top.Bool("rms_norm", true);
  config.norm_eps = top.Epsilon("norm_epsilon", 1e-5f);
  config.tie_embeddings = top.Bool("tie_embeddings", true);
  config.eos_token_ids = top.TokenIds("eos_token_id", config.vocab_size);
  // Some files carry a model_type beside mamba_ssm's keys; the layer is ssm_cfg.layer's all the
  // same.
  const std::string type = top.String("model_type", "mamba");
  const Json* ssm_cfg = top.Find("ssm_cfg");
  const Json mixer = ssm_cfg != nullptr ? *ssm_cfg : Json::object();
  CheckLayer(mixer, source);
  if (type != "mamba" && type != "mamba2") top.Unsupported("model_type", "\"mamba\" or \"mamba2\"");
  if (top.Number("d_intermediate", 0) != 0) top.Unsupported("d_intermediate", "0 (no MLP blocks)");
  for (const char* key : {"attn_layer_idx", "attn_cfg"}) {
    const Json* value = top.Find(key);
    if (value != nullptr && !value->empty()) top.Unsupported(key, "nothing (no attention layers)");
  }
  config.layers.assign(n_layer, ReadMixer(mixer, source, config.d_model));
  top.Finish({kTopWithoutEffect});
  return config;
}

}  // namespace pith
