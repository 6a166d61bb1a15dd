// The architecture of a checkpoint, read from its config.json.
//
// Two families of files are understood: mamba_ssm's (d_model, n_layer, ssm_cfg, ...) and Hugging
// Face transformers' (by model_type: Mamba's, plain Transformers', hybrids'). Every key of the file
// is either read, or on an explicit list of keys that cannot change inference, or an error that
// names it.
#ifndef PITH_LOAD_MODEL_CONFIG_H_
#define PITH_LOAD_MODEL_CONFIG_H_

#include <algorithm>
#include <array>
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
  bool operator==(const MambaConfig&) const = default;
};

struct Mamba1Config : MambaConfig {
  int64_t dt_rank = 0;
  bool bcdt_norm = false;     // FalconMamba, Jamba: RMSNorm on B, C and dt
  bool bcdt_weights = false;  // with weights: Jamba's
  float bcdt_norm_eps = 1e-6f;

  int64_t conv_channels() const { return d_inner; }
  int64_t in_proj_rows() const { return 2 * d_inner; }  // [x, z]
  bool operator==(const Mamba1Config&) const = default;
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
  // Falcon-H1: what in_proj reads and what it gives for z, x, B, C and dt are multiplied by these.
  float in_scale = 1;
  std::array<float, 5> out_scales = {1, 1, 1, 1, 1};

  bool scaled() const {
    return in_scale != 1 || std::ranges::any_of(out_scales, [](float s) { return s != 1; });
  }
  int64_t bc_width() const { return n_groups * d_state; }
  int64_t conv_channels() const { return d_inner + 2 * bc_width(); }
  int64_t in_proj_rows() const { return d_inner + conv_channels() + n_heads; }  // [z, x, B, C, dt]
  bool operator==(const Mamba2Config&) const = default;
};

// Causal attention with grouped queries.
struct AttentionConfig {
  int64_t n_heads = 0;     // of queries, a multiple of n_kv_heads
  int64_t n_kv_heads = 0;  // of keys, and of values
  int64_t head_dim = 0;
  bool qkv_bias = false;
  bool qk_norm = false;  // RMSNorm of each head of queries and keys, before they rotate
  bool out_bias = false;
  float scale = 0;     // of q · k before the softmax
  int64_t window = 0;  // the last positions that a row sees, its own included; 0: all
  // Rotary embedding: radians a position for each pair of a head's first numbers, whose rest stays
  // as it is. Empty: none.
  std::vector<double> rope;
  float rope_factor = 1;  // of cosines and sines
  double rope_theta = 0;  // without a scaling, pair i of n turns by theta^(-i / n) a position
  bool rope_interleaved = false;  // pairs are 2 i and 2 i + 1, as in GGUF's Llama

  int64_t q_width() const { return n_heads * head_dim; }
  int64_t kv_width() const { return n_kv_heads * head_dim; }
  bool operator==(const AttentionConfig&) const = default;
};

enum class MlpActivation : uint8_t { kSilu, kReluSquared, kGelu };

// out_scale · down(activation(gate_scale · gate x) · up x), or down(activation(up x)).
struct MlpConfig {
  int64_t d_hidden = 0;
  MlpActivation activation = MlpActivation::kSilu;
  bool gated = true;
  bool bias = false;
  float gate_scale = 1;  // Falcon-H1's
  float out_scale = 1;   // Falcon-H1's
  bool operator==(const MlpConfig&) const = default;
};

// How the logits of a router become the weights of the experts that it chooses (ops/experts.h).
enum class ExpertRouter : uint8_t { kSoftmaxOfChosen, kSoftmaxOfAll, kSigmoid };

// Each row goes to a few of many MLPs, and to a shared one where there is one.
struct ExpertsConfig {
  MlpConfig expert;  // each of them
  int64_t n_experts = 0;
  int64_t chosen = 0;
  ExpertRouter router = ExpertRouter::kSoftmaxOfChosen;
  bool correction = false;  // kSigmoid: a bias that chooses but does not weigh
  bool normalise = false;   // weights are divided by their sum
  float scale = 1;          // and multiplied by this
  int64_t groups = 1;
  int64_t chosen_groups = 1;
  MlpConfig shared;  // every row passes it too; d_hidden 0: none
  bool operator==(const ExpertsConfig&) const = default;
};

// Falcon-H1: Mamba-2 and attention read the same normed rows, and what they give is weighed and
// added.
struct ParallelConfig {
  Mamba2Config mamba;
  AttentionConfig attention;
  float mamba_scale = 1;
  float attention_scale = 1;
  bool operator==(const ParallelConfig&) const = default;
};

// Zamba2: a block of attention and an MLP, which several layers share, reads the residual branch
// and beside it the embedding of each row's token; what it gives enters Mamba-2 with the residual
// branch, but is not added to it. Adapters (LoRA) and the map behind the block are the layer's own.
struct SharedBlockConfig {
  Mamba2Config mamba;
  AttentionConfig attention;  // of rows of 2 d_model
  MlpConfig mlp;
  int64_t block = 0;                // which of the model's shared blocks
  int64_t use = 0;                  // of the model's layers of this kind, in order
  int64_t adapter_rank = 1;         // of the gate and up matrices' adapter
  bool attention_adapters = false;  // queries, keys and values have such ones too
  bool operator==(const SharedBlockConfig&) const = default;
};

// One alternative a kind of layer. Code that must tell them apart visits it: only the reading of
// configs and src/model/layers/ do.
using LayerConfig = std::variant<Mamba1Config, Mamba2Config, AttentionConfig, MlpConfig,
                                 ExpertsConfig, ParallelConfig, SharedBlockConfig>;

// "Mamba-1", "Mamba-2", "attention", "MLP", "experts", "Mamba-2 beside attention",
// "Mamba-2 behind a shared block".
std::string_view KindName(const LayerConfig& layer);

// What both kinds of Mamba have; null for a layer of another kind.
const MambaConfig* AsMamba(const LayerConfig& layer);

struct ModelConfig {
  std::string format;        // "mamba_ssm", transformers' model_type, or "gguf"
  std::string architecture;  // of a GGUF file
  int64_t d_model = 0;
  int64_t vocab_size = 0;  // rows of the embedding, padding included
  float norm_eps = 1e-5f;
  bool layer_norm = false;  // LayerNorm with a bias in place of RMSNorm, before layers and the head
  bool tie_embeddings = true;
  bool quantised = false;  // the files may hold matrices that pith quantised
  // Granite's and Falcon-H1's: the embedding, what each layer adds and the logits are multiplied by
  // these. The residual branch is held divided by residual_scale, so that layers need not multiply:
  // norms forget it, but for their epsilon.
  float embedding_scale = 1;
  float residual_scale = 1;
  float logits_scale = 1;
  std::vector<int32_t> eos_token_ids;
  std::vector<LayerConfig> layers;  // at least one

  // What enters the first layer is the embedding times this.
  float EmbeddingFactor() const { return embedding_scale / residual_scale; }
  // Epsilon of the norms in front of layers and head, for the residual branch as it is held.
  float NormEps() const { return norm_eps / (residual_scale * residual_scale); }
  int64_t n_layer() const { return static_cast<int64_t>(layers.size()); }
  // One line for people.
  std::string Describe() const;
  bool operator==(const ModelConfig&) const = default;
};

// Throws kNotFound or kIo; kCorruptData for text that is no valid config; kUnsupported for an
// option that pith does not implement. Messages name file, key, value and what was expected.
ModelConfig LoadModelConfig(const std::filesystem::path& config_json);
// `source` stands for the file in messages.
ModelConfig ParseModelConfig(std::string_view json_text, const std::string& source);

}  // namespace pith

#endif  // PITH_LOAD_MODEL_CONFIG_H_
