#include "load/weight_map.h"

#include <string_view>

#include "core/error.h"

namespace pith {
namespace {

// A column a format. '#' stands for the layer; where the blocks differ, Mamba-2's name follows '|'.
struct Row {
  Slot slot;
  std::string_view mamba_ssm;
  std::string_view hugging_face;
};

// Inside of a layer, transformers kept mamba_ssm's names.
constexpr Row Same(Slot slot, std::string_view name) { return {slot, name, name}; }

constexpr Row kRows[] = {
    {Slot::kEmbedding, "backbone.embedding.weight", "backbone.embeddings.weight"},
    Same(Slot::kLmHead, "lm_head.weight"),
    Same(Slot::kFinalNormWeight, "backbone.norm_f.weight"),
    Same(Slot::kFinalNormBias, "backbone.norm_f.bias"),
    Same(Slot::kNormWeight, "backbone.layers.#.norm.weight"),
    Same(Slot::kNormBias, "backbone.layers.#.norm.bias"),
    Same(Slot::kInProjWeight, "backbone.layers.#.mixer.in_proj.weight"),
    Same(Slot::kInProjBias, "backbone.layers.#.mixer.in_proj.bias"),
    Same(Slot::kConvWeight, "backbone.layers.#.mixer.conv1d.weight"),
    Same(Slot::kConvBias, "backbone.layers.#.mixer.conv1d.bias"),
    Same(Slot::kXProj, "backbone.layers.#.mixer.x_proj.weight"),
    Same(Slot::kDtProj, "backbone.layers.#.mixer.dt_proj.weight"),
    Same(Slot::kDtBias, "backbone.layers.#.mixer.dt_proj.bias|backbone.layers.#.mixer.dt_bias"),
    Same(Slot::kALog, "backbone.layers.#.mixer.A_log"),
    Same(Slot::kD, "backbone.layers.#.mixer.D"),
    Same(Slot::kGatedNormWeight, "backbone.layers.#.mixer.norm.weight"),
    Same(Slot::kOutProjWeight, "backbone.layers.#.mixer.out_proj.weight"),
    Same(Slot::kOutProjBias, "backbone.layers.#.mixer.out_proj.bias"),
};

std::string_view NamePattern(const ModelConfig& config, Slot slot) {
  for (const Row& row : kRows) {
    if (row.slot != slot) continue;
    const std::string_view name = config.format == "mamba_ssm" ? row.mamba_ssm : row.hugging_face;
    const size_t bar = name.find('|');
    if (bar == name.npos) return name;
    return config.kind == BlockKind::kMamba1 ? name.substr(0, bar) : name.substr(bar + 1);
  }
  PITH_CHECK(false);
  return {};
}

std::vector<int64_t> MixerShape(const ModelConfig& c, Slot slot) {
  using Shape = std::vector<int64_t>;
  const bool mamba1 = c.kind == BlockKind::kMamba1;
  switch (slot) {
    case Slot::kInProjWeight:
      return {c.in_proj_rows(), c.d_model};
    case Slot::kInProjBias:
      return c.proj_bias ? Shape{c.in_proj_rows()} : Shape{};
    case Slot::kConvWeight:
      return {c.conv_channels(), 1, c.d_conv};
    case Slot::kConvBias:
      return c.conv_bias ? Shape{c.conv_channels()} : Shape{};
    case Slot::kXProj:
      return mamba1 ? Shape{c.dt_rank + 2 * c.d_state, c.d_inner} : Shape{};
    case Slot::kDtProj:
      return mamba1 ? Shape{c.d_inner, c.dt_rank} : Shape{};
    case Slot::kDtBias:
      return {mamba1 ? c.d_inner : c.n_heads};
    case Slot::kALog:
      return mamba1 ? Shape{c.d_inner, c.d_state} : Shape{c.n_heads};
    case Slot::kD:
      return {mamba1 || c.d_has_hdim ? c.d_inner : c.n_heads};
    case Slot::kGatedNormWeight:
      return c.gated_norm ? Shape{c.d_inner} : Shape{};
    case Slot::kOutProjWeight:
      return {c.d_model, c.d_inner};
    case Slot::kOutProjBias:
      return c.proj_bias ? Shape{c.d_model} : Shape{};
    default:
      PITH_CHECK(false);
      return {};
  }
}

}  // namespace

std::string TensorName(const ModelConfig& config, Slot slot, int64_t layer) {
  std::string name(NamePattern(config, slot));
  const size_t mark = name.find('#');
  if (mark != name.npos) name.replace(mark, 1, std::to_string(layer));
  return name;
}

std::vector<int64_t> TensorShape(const ModelConfig& config, Slot slot) {
  switch (slot) {
    case Slot::kEmbedding:
    case Slot::kLmHead:
      return {config.vocab_size, config.d_model};
    case Slot::kFinalNormWeight:
    case Slot::kNormWeight:
      return {config.d_model};
    case Slot::kFinalNormBias:
    case Slot::kNormBias:
      if (config.layer_norm) return {config.d_model};
      return {};
    default:
      return MixerShape(config, slot);
  }
}

}  // namespace pith
