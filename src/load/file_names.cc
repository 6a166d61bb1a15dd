#include "load/file_names.h"

#include <algorithm>
#include <charconv>
#include <utility>
#include <variant>

#include "core/error.h"
#include "load/config_gguf.h"
#include "load/gguf_names.h"

namespace pith {
namespace {

constexpr std::string_view kEmbedding = "backbone.embedding.weight";
constexpr std::string_view kFinalNorm = "backbone.norm_f.weight";
constexpr std::string_view kLayers = "backbone.layers.";
constexpr std::string_view kMixer = "mixer.";

// How a family of transformers names what a block holds. A block is one layer of pith or two: what
// mixes rows, and what follows it.
struct Family {
  std::string_view format;
  std::string_view prefix;  // of everything but the head
  std::string_view embedding;
  std::string_view final_norm;
  std::string_view norm;       // in front of the block
  std::string_view next_norm;  // in front of its second layer; empty: there is none
  std::string_view mamba;
  std::string_view attention;
  std::string_view mlp;

  int64_t layers_a_block() const { return next_norm.empty() ? 1 : 2; }
};

constexpr Family kFamilies[] = {
    {"llama", "model.", "embed_tokens", "norm", "input_layernorm", "post_attention_layernorm", "",
     "self_attn.", "mlp."},
    {"qwen2", "model.", "embed_tokens", "norm", "input_layernorm", "post_attention_layernorm", "",
     "self_attn.", "mlp."},
    {"qwen3", "model.", "embed_tokens", "norm", "input_layernorm", "post_attention_layernorm", "",
     "self_attn.", "mlp."},
    {"granite", "model.", "embed_tokens", "norm", "input_layernorm", "post_attention_layernorm", "",
     "self_attn.", "mlp."},
    {"granitemoehybrid", "model.", "embed_tokens", "norm", "input_layernorm",
     "post_attention_layernorm", "mamba.", "self_attn.", "shared_mlp."},
    {"bamba", "model.", "embed_tokens", "final_layernorm", "input_layernorm", "pre_ff_layernorm",
     "mamba.", "self_attn.", "feed_forward."},
    {"jamba", "model.", "embed_tokens", "final_layernorm", "input_layernorm", "pre_ff_layernorm",
     "mamba.", "self_attn.", "feed_forward."},
    {"falcon_h1", "model.", "embed_tokens", "final_layernorm", "input_layernorm",
     "pre_ff_layernorm", "mamba.", "self_attn.", "feed_forward."},
    {"zamba2", "model.", "embed_tokens", "final_layernorm", "input_layernorm", "", "mamba.",
     "self_attn.", "feed_forward."},
    {"nemotron_h", "backbone.", "embeddings", "norm_f", "norm", "", "mixer.", "mixer.", "mixer."},
};

const Family* FamilyOf(const ModelConfig& config) {
  const auto* const family = std::ranges::find(kFamilies, config.format, &Family::format);
  return family == std::end(kFamilies) ? nullptr : family;
}

// Granite's files keep gate and up of an MLP, or of all experts, in one tensor, and the experts'
// down in another. `rest` follows the mixer's prefix.
FileTensor InGraniteMlp(const ExpertsConfig* experts, std::string_view rest, FileTensor found,
                        const std::string& block) {
  const int64_t rows = found.shape.empty() ? 0 : found.shape.front();
  const auto place = [&](std::string_view matrix, std::string_view in, std::string_view out,
                         int64_t expert, int64_t count) {
    const bool down = matrix == "down_proj.weight";
    found.name = StrCat(block, down ? out : in);
    if (found.shape.empty()) return;
    if (!down) found.shape.front() *= 2;
    found.first_row = expert * found.shape.front() + (matrix == "up_proj.weight" ? rows : 0);
    if (count > 0) found.shape.insert(found.shape.begin(), count);
  };
  constexpr std::string_view kShared = "shared.";
  constexpr std::string_view kExpert = "experts.";
  if (experts != nullptr && rest == "router.weight") {
    found.name = StrCat(block, "block_sparse_moe.router.layer.weight");
  } else if (experts != nullptr && rest.starts_with(kExpert)) {
    rest.remove_prefix(kExpert.size());
    int64_t expert = 0;
    std::from_chars(rest.data(), rest.data() + rest.size(), expert);
    place(rest.substr(rest.find('.') + 1), "block_sparse_moe.input_linear.weight",
          "block_sparse_moe.output_linear.weight", expert, experts->n_experts);
  } else {
    if (rest.starts_with(kShared)) rest.remove_prefix(kShared.size());
    place(rest, "shared_mlp.input_linear.weight", "shared_mlp.output_linear.weight", 0, 0);
  }
  return found;
}

// Nemotron-H's names of a mixture's parts.
std::string InNemotronExperts(std::string_view rest) {
  constexpr std::string_view kShared = "shared.";
  if (rest == "router.weight") return "gate.weight";
  if (rest == "router.correction") return "gate.e_score_correction_bias";
  if (rest.starts_with(kShared)) return StrCat("shared_experts.", rest.substr(kShared.size()));
  return std::string(rest);
}

// Zamba2's files keep a shared block where its first layer is, with the adapters of all its layers
// and gate and up in one tensor. `layer` is at `index`.
class InZamba {
 public:
  InZamba(const ModelConfig& config, int64_t index, const SharedBlockConfig& layer,
          FileTensor found)
      : layer_(layer), found_(std::move(found)) {
    own_ = StrCat("model.layers.", index, ".");
    for (int64_t l = 0; l < config.n_layer(); ++l) {
      const auto* other = std::get_if<SharedBlockConfig>(&config.layers[static_cast<size_t>(l)]);
      if (other == nullptr || other->block != layer.block) continue;
      block_ = StrCat("model.layers.", l, ".shared_transformer.");
      break;
    }
  }

  FileTensor Norm() { return At(StrCat(own_, "mamba_decoder.input_layernorm.weight")); }
  // `rest` follows "mixer.".
  FileTensor Mixer(std::string_view rest) {
    constexpr std::string_view kShared = "shared.";
    constexpr std::string_view kAdapters = "adapters.";
    if (rest == "linear.weight") return At(StrCat(own_, rest));
    if (rest.starts_with(kShared)) return Shared(rest.substr(kShared.size()));
    if (rest.starts_with(kAdapters)) return OfAdapter(rest.substr(kAdapters.size()));
    return At(StrCat(own_, "mamba_decoder.mamba.", rest));
  }

 private:
  FileTensor At(std::string name) {
    found_.name = std::move(name);
    return std::move(found_);
  }
  // Gate's rows and then up's.
  FileTensor Half(std::string name, bool up) {
    if (!found_.shape.empty()) {
      found_.first_row = up ? found_.shape.front() : 0;
      found_.shape.front() *= 2;
    }
    return At(std::move(name));
  }
  FileTensor Shared(std::string_view rest) {
    const std::string_view matrix = rest.substr(0, rest.find('.'));
    const std::string_view part = rest.substr(matrix.size());
    if (matrix == "norm") return At(StrCat(block_, "input_layernorm", part));
    if (matrix == "mlp_norm") return At(StrCat(block_, "pre_ff_layernorm", part));
    if (matrix == "gate_proj" || matrix == "up_proj") {
      return Half(StrCat(block_, "feed_forward.gate_up_proj", part), matrix == "up_proj");
    }
    return At(StrCat(block_, matrix == "down_proj" ? "feed_forward." : "self_attn.", rest));
  }
  FileTensor OfAdapter(std::string_view rest) {
    const std::string_view of = rest.substr(0, rest.find('.'));
    const std::string_view part = rest.substr(of.size());
    if (of == "q" || of == "k" || of == "v") {
      return At(StrCat(block_, "self_attn.linear_", of, "_adapter_list.", layer_.use, part));
    }
    std::string name = StrCat(block_, "feed_forward.gate_up_proj_adapter_list.", layer_.use, part);
    return of == "gate_up" ? At(std::move(name)) : Half(std::move(name), of == "up");
  }

  const SharedBlockConfig& layer_;
  FileTensor found_;
  std::string own_;    // of the layer
  std::string block_;  // of the shared block
};

// `rest` tells the two halves of a parallel layer apart.
std::string_view MixerPrefix(const Family& family, const LayerConfig& layer,
                             std::string_view rest) {
  if (std::holds_alternative<ParallelConfig>(layer)) {
    constexpr std::string_view kHeads[] = {"q_proj", "k_proj", "v_proj", "o_proj"};
    const bool heads =
        std::ranges::any_of(kHeads, [&](auto name) { return rest.starts_with(name); });
    return heads ? family.attention : family.mamba;
  }
  if (std::holds_alternative<Mamba1Config>(layer) || std::holds_alternative<Mamba2Config>(layer)) {
    return family.mamba;
  }
  return std::holds_alternative<AttentionConfig>(layer) ? family.attention : family.mlp;
}

FileTensor InFamily(const Family& family, const ModelConfig& config, std::string_view name,
                    FileTensor found) {
  if (name == kEmbedding) found.name = StrCat(family.prefix, family.embedding, ".weight");
  if (name == kFinalNorm) found.name = StrCat(family.prefix, family.final_norm, ".weight");
  if (!name.starts_with(kLayers)) return found;
  std::string_view rest = name.substr(kLayers.size());
  int64_t index = 0;
  std::from_chars(rest.data(), rest.data() + rest.size(), index);
  rest.remove_prefix(rest.find('.') + 1);
  const LayerConfig& layer = config.layers[static_cast<size_t>(index)];
  const auto* shared = std::get_if<SharedBlockConfig>(&layer);
  if (shared != nullptr) {
    InZamba zamba(config, index, *shared, std::move(found));
    if (!rest.starts_with(kMixer)) return zamba.Norm();
    return zamba.Mixer(rest.substr(kMixer.size()));
  }
  const std::string block = StrCat(family.prefix, "layers.", index / family.layers_a_block(), ".");
  if (!rest.starts_with(kMixer)) {  // the norm in front
    const bool second = index % family.layers_a_block() == 1;
    found.name = StrCat(block, second ? family.next_norm : family.norm, ".weight");
    return found;
  }
  rest.remove_prefix(kMixer.size());
  const auto* experts = std::get_if<ExpertsConfig>(&layer);
  const bool mlp = experts != nullptr || std::holds_alternative<MlpConfig>(layer);
  if (mlp && config.format == "granitemoehybrid") {
    return InGraniteMlp(experts, rest, std::move(found), block);
  }
  const bool nemotron = experts != nullptr && config.format == "nemotron_h";
  found.name = StrCat(block, MixerPrefix(family, layer, rest),
                      nemotron ? InNemotronExperts(rest) : std::string(rest));
  return found;
}

}  // namespace

FileTensor TensorInFile(const ModelConfig& config, std::string_view name,
                        const std::vector<int64_t>& shape) {
  if (config.format == kGgufFormat) return GgufTensorOf(config, name, shape);
  FileTensor found{.name = std::string(name), .shape = shape};
  if (const Family* const family = FamilyOf(config)) {
    return InFamily(*family, config, name, std::move(found));
  }
  if (name == kEmbedding && config.format != "mamba_ssm") {
    found.name = "backbone.embeddings.weight";
  }
  return found;
}

}  // namespace pith
