#include "engine/gguf_checks.h"

#include <cmath>
#include <limits>
#include <string_view>
#include <variant>

#include "core/error.h"
#include "engine/gguf_rope.h"
#include "load/gguf_names.h"

namespace pith {
namespace {

class Checker {
 public:
  Checker(const ModelConfig& config, const std::string& source)
      : config_(config), architecture_(GgufArchitectureOf(config)), source_(source) {}

  void Check() {
    Refuse(config_.layer_norm, "LayerNorm in place of RMSNorm");
    Refuse(config_.eos_token_ids.size() > 2, "more than two tokens that end a text");
    const bool scaled =
        config_.embedding_scale != 1 || config_.residual_scale != 1 || config_.logits_scale != 1;
    Refuse(scaled && !architecture_.multipliers, "multipliers of the embedding or the logits");
    for (const LayerConfig& layer : config_.layers) {
      std::visit([&](const auto& kind) { Layer(kind); }, layer);
    }
  }

 private:
  void Refuse(bool is, std::string_view what) const {
    Require(!is, ErrorCode::kUnsupported, source_, ": the model has ", what,
            ", which a GGUF file of architecture ", architecture_.name, " cannot tell");
  }
  bool Is(std::string_view name) const { return architecture_.name == name; }

  void Layer(const Mamba1Config& mixer) const {
    Refuse(mixer.proj_bias, "biases on its projections");
    Refuse(mixer.bcdt_weights != Is("jamba"), "norms of B, C and step sizes of another kind");
    Refuse(!Is("mamba") && mixer.bcdt_norm_eps != config_.norm_eps,
           "two different values of norm epsilon");
  }

  void Layer(const Mamba2Config& mixer) const {
    Refuse(mixer.proj_bias, "biases on its projections");
    Refuse(!mixer.gated_norm && !Is("falcon-h1"), "no norm behind the gate");
    Refuse(mixer.gated_norm && mixer.norm_before_gate, "a norm before the gate");
    Refuse(mixer.d_has_hdim, "a D for each channel");
    Refuse(mixer.dt_min > 0 || mixer.dt_max < std::numeric_limits<float>::infinity(),
           "bounds of the step size (dt_limit)");
    Refuse(mixer.gated_norm && mixer.gated_norm_group * mixer.n_groups != mixer.d_inner,
           "a norm behind the gate that is not over groups");
    Refuse(mixer.gated_norm && mixer.gated_norm_eps != config_.norm_eps,
           "two different values of norm epsilon");
    Refuse(mixer.scaled(), "multipliers in its mixers");
  }

  void Layer(const AttentionConfig& heads) const {
    const bool never = architecture_.rope == GgufRope::kNone;
    const bool parts = Is("granitehybrid") || Is("falcon-h1");
    Refuse(heads.window > 0, "attention with a window");
    Refuse(heads.qk_norm, "norms of queries and keys");
    Refuse(heads.rope_factor != 1, "a rotation that is multiplied (yarn)");
    Refuse(never && !heads.rope.empty(), "attention that rotates");
    Refuse(!never && heads.rope.empty() && !architecture_.multipliers,
           "attention without positions");
    Refuse(!never && !parts && !heads.rope.empty() && 2 * std::ssize(heads.rope) != heads.head_dim,
           "a rotation of a part of each head");
    Refuse(!architecture_.rope_factors && !GgufRopeFactors(config_).empty(), "a scaled rotation");
    const auto scale = static_cast<float>(1 / std::sqrt(static_cast<double>(heads.head_dim)));
    Refuse(heads.scale != scale && !architecture_.multipliers, "scores with a scale of their own");
    Refuse(heads.qkv_bias && Is("jamba"), "biases in attention");
    Refuse(heads.out_bias && (Is("jamba") || Is("qwen2")), "a bias behind attention");
  }

  void Layer(const MlpConfig& mlp) const {
    const bool squares = mlp.activation == MlpActivation::kReluSquared;
    Refuse(squares != Is("nemotron_h") || mlp.gated == squares, "MLPs of another kind");
    Refuse(mlp.bias && (Is("jamba") || Is("qwen2")), "biases in its MLPs");
    Refuse(mlp.gate_scale != 1 || mlp.out_scale != 1, "multipliers in its MLPs");
  }

  void Layer(const ExpertsConfig& experts) const {
    Refuse(!Is("granitehybrid") && !Is("jamba"), "experts");
    const ExpertRouter router =
        Is("jamba") ? ExpertRouter::kSoftmaxOfAll : ExpertRouter::kSoftmaxOfChosen;
    Refuse(experts.router != router || experts.normalise || experts.scale != 1 ||
               experts.correction || experts.groups > 1,
           "a router of another kind");
    Layer(experts.expert);
    for (const LayerConfig& other : config_.layers) {
      const auto* mlp = std::get_if<MlpConfig>(&other);
      Refuse(mlp != nullptr && (!Is("jamba") || mlp->d_hidden != experts.expert.d_hidden),
             "MLPs of another width than its experts");
    }
  }

  void Layer(const ParallelConfig& both) const {
    Refuse(both.mamba_scale != 1 || both.attention_scale != 1, "multipliers in its mixers");
    Layer(both.mamba);
    Layer(both.attention);
  }

  void Layer(const SharedBlockConfig& /*layer*/) const {
    Refuse(true, "blocks that several layers share");
  }

  const ModelConfig& config_;
  const GgufArchitecture& architecture_;
  const std::string& source_;
};

}  // namespace

void CheckGgufTells(const ModelConfig& config, const std::string& source) {
  Checker(config, source).Check();
}

}  // namespace pith
