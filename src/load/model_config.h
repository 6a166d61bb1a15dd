// The architecture of a checkpoint, read from its config.json.
//
// Two families of files are understood: mamba_ssm's (d_model, n_layer, ssm_cfg, ...) and Hugging
// Face transformers' (model_type mamba, mamba2 or falcon_mamba). Every key of the file is either
// read, or on an explicit list of keys that cannot change inference, or an error that names it.
#ifndef PITH_LOAD_MODEL_CONFIG_H_
#define PITH_LOAD_MODEL_CONFIG_H_

#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace pith {

// What the mixers of both kinds of Mamba have.
struct MambaConfig {
  int64_t d_inner = 0;
  int64_t d_state = 0;
  int64_t d_conv = 0;
  bool proj_bias = false;  // in_proj and out_proj
  bool conv_bias = true;
};

struct Mamba1Config : MambaConfig {
  int64_t dt_rank = 0;
  bool bcdt_norm = false;  // FalconMamba: RMSNorm without weights on B, C and dt
  float bcdt_norm_eps = 1e-6f;

  int64_t conv_channels() const { return d_inner; }
  int64_t in_proj_rows() const { return 2 * d_inner; }  // [x, z]
};

struct Mamba2Config : MambaConfig {
  int64_t n_heads = 0;
  int64_t head_dim = 0;
  int64_t n_groups = 0;
  int64_t chunk_size = 0;
  bool gated_norm = false;  // RMSNorm of the gated scan output
  bool norm_before_gate = false;
  float gated_norm_eps = 1e-5f;
  int64_t gated_norm_group = 0;  // width over which one mean square of the gated norm runs
  bool d_has_hdim = false;       // D holds one value a channel instead of one a head
  float dt_min = 0.0f;           // bounds of the step size after softplus
  float dt_max = std::numeric_limits<float>::infinity();

  int64_t bc_width() const { return n_groups * d_state; }
  int64_t conv_channels() const { return d_inner + 2 * bc_width(); }
  int64_t in_proj_rows() const { return d_inner + conv_channels() + n_heads; }  // [z, x, B, C, dt]
};

// One alternative a kind of layer. Code that must tell them apart visits it: only the reading of
// configs and src/model/layers/ do.
using LayerConfig = std::variant<Mamba1Config, Mamba2Config>;

// "Mamba-1", "Mamba-2".
std::string_view KindName(const LayerConfig& layer);

struct ModelConfig {
  std::string format;  // "mamba_ssm", or transformers' model_type
  int64_t d_model = 0;
  int64_t vocab_size = 0;  // rows of the embedding, padding included
  float norm_eps = 1e-5f;
  bool layer_norm = false;  // LayerNorm with a bias in place of RMSNorm, before layers and the head
  bool tie_embeddings = true;
  bool quantised = false;  // the files may hold matrices that pith quantised
  std::vector<int32_t> eos_token_ids;
  std::vector<LayerConfig> layers;  // at least one

  int64_t n_layer() const { return static_cast<int64_t>(layers.size()); }
  // One line for people.
  std::string Describe() const;
};

// Throws kNotFound or kIo; kCorruptData for text that is no valid config; kUnsupported for an
// option that pith does not implement. Messages name file, key, value and what was expected.
ModelConfig LoadModelConfig(const std::filesystem::path& config_json);
// `source` stands for the file in messages.
ModelConfig ParseModelConfig(std::string_view json_text, const std::string& source);

}  // namespace pith

#endif  // PITH_LOAD_MODEL_CONFIG_H_
