#include "load/gguf_names.h"

#include <utility>

#include "core/error.h"

namespace pith {
namespace {

constexpr std::string_view kLayers = "backbone.layers.";
constexpr std::string_view kConvolution = "mixer.conv1d.weight";
constexpr std::string_view kDecay = "mixer.A_log";
constexpr std::string_view kGatedNorm = "mixer.norm.weight";

constexpr std::pair<std::string_view, std::string_view> kTop[] = {
    {"backbone.embedding.weight", kGgufEmbedding},
    {"backbone.norm_f.weight", "output_norm.weight"},
    {"lm_head.weight", kGgufHead}};
constexpr std::pair<std::string_view, std::string_view> kInLayer[] = {
    {"norm.weight", "attn_norm.weight"},
    {"mixer.in_proj.weight", "ssm_in.weight"},
    {kConvolution, "ssm_conv1d.weight"},
    {"mixer.conv1d.bias", "ssm_conv1d.bias"},
    {"mixer.x_proj.weight", "ssm_x.weight"},
    {"mixer.dt_proj.weight", "ssm_dt.weight"},
    {"mixer.dt_proj.bias", "ssm_dt.bias"},
    {"mixer.dt_bias", "ssm_dt.bias"},
    {kDecay, "ssm_a"},
    {"mixer.D", "ssm_d"},
    {kGatedNorm, "ssm_norm.weight"},
    {"mixer.out_proj.weight", "ssm_out.weight"}};

// "backbone.layers.3.norm.weight" → {"3", "norm.weight"}.
std::pair<std::string_view, std::string_view> SplitLayer(std::string_view name) {
  if (!name.starts_with(kLayers)) return {};
  name.remove_prefix(kLayers.size());
  const size_t dot = name.find('.');
  if (dot == name.npos) return {};
  return {name.substr(0, dot), name.substr(dot + 1)};
}

}  // namespace

std::string GgufTensorName(std::string_view name) {
  for (const auto& [ours, gguf] : kTop) {
    if (name == ours) return std::string(gguf);
  }
  const auto [layer, rest] = SplitLayer(name);
  for (const auto& [ours, gguf] : kInLayer) {
    if (rest == ours) return StrCat("blk.", layer, ".", gguf);
  }
  return std::string(name);
}

std::vector<int64_t> GgufTensorShape(const ModelConfig& config, std::string_view name,
                                     const std::vector<int64_t>& shape) {
  const std::string_view rest = SplitLayer(name).second;
  const auto* mamba2 = std::get_if<Mamba2Config>(&config.layers.front());
  std::vector<int64_t> result = shape;
  if (rest == kConvolution) {  // [channels, 1, d_conv]
    result.erase(result.begin() + 1);
  } else if (mamba2 != nullptr && (rest == kDecay || rest == "mixer.D")) {
    result.push_back(1);
  } else if (rest == kGatedNorm) {
    PITH_CHECK(mamba2 != nullptr);
    result = {mamba2->n_groups, mamba2->gated_norm_group};
  }
  while (result.size() > 1 && result.front() == 1) result.erase(result.begin());
  return result;
}

}  // namespace pith
