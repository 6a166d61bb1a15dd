#include "load/gguf_names.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <utility>
#include <variant>

#include "core/error.h"

namespace pith {
namespace {

constexpr std::string_view kLayers = "backbone.layers.";
constexpr std::string_view kConvolution = "mixer.conv1d.weight";
constexpr std::string_view kDecay = "mixer.A_log";
constexpr std::string_view kGatedNorm = "mixer.norm.weight";
constexpr std::string_view kExpert = "mixer.experts.";
constexpr std::string_view kFalconH1 = "falcon-h1";

constexpr GgufArchitecture kArchitectures[] = {
    {"mamba"},
    {"mamba2"},
    {"llama", 2, GgufRope::kInterleaved, true},
    {"qwen2", 2, GgufRope::kHalf},
    {"granite", 2, GgufRope::kInterleaved, true, true},
    {"granitehybrid", 2, GgufRope::kInterleaved, true, true},
    {"jamba", 2},
    {"nemotron_h", 1},
    {kFalconH1, 2, GgufRope::kHalf, true},
};

// model_type of transformers → architecture.
constexpr std::pair<std::string_view, std::string_view> kFormats[] = {
    {"llama", "llama"},           {"qwen2", "qwen2"},
    {"granite", "granite"},       {"granitemoehybrid", "granitehybrid"},
    {"bamba", "granitehybrid"},   {"jamba", "jamba"},
    {"nemotron_h", "nemotron_h"}, {"falcon_h1", kFalconH1}};

constexpr std::pair<std::string_view, std::string_view> kTop[] = {
    {"backbone.embedding.weight", kGgufEmbedding},
    {"backbone.norm_f.weight", "output_norm.weight"},
    {"lm_head.weight", kGgufHead}};
constexpr std::pair<std::string_view, std::string_view> kInLayer[] = {
    {"mixer.in_proj.weight", "ssm_in.weight"},
    {kConvolution, "ssm_conv1d.weight"},
    {"mixer.conv1d.bias", "ssm_conv1d.bias"},
    {"mixer.x_proj.weight", "ssm_x.weight"},
    {"mixer.dt_proj.weight", "ssm_dt.weight"},
    {"mixer.dt_proj.bias", "ssm_dt.bias"},
    {"mixer.dt_bias", "ssm_dt.bias"},
    {"mixer.dt_layernorm.weight", "ssm_dt_norm.weight"},
    {"mixer.b_layernorm.weight", "ssm_b_norm.weight"},
    {"mixer.c_layernorm.weight", "ssm_c_norm.weight"},
    {kDecay, "ssm_a"},
    {"mixer.D", "ssm_d"},
    {kGatedNorm, "ssm_norm.weight"},
    {"mixer.out_proj.weight", "ssm_out.weight"},
    {"mixer.q_proj.weight", "attn_q.weight"},
    {"mixer.q_proj.bias", "attn_q.bias"},
    {"mixer.k_proj.weight", "attn_k.weight"},
    {"mixer.k_proj.bias", "attn_k.bias"},
    {"mixer.v_proj.weight", "attn_v.weight"},
    {"mixer.v_proj.bias", "attn_v.bias"},
    {"mixer.o_proj.weight", "attn_output.weight"},
    {"mixer.o_proj.bias", "attn_output.bias"},
    {"mixer.gate_proj.weight", "ffn_gate.weight"},
    {"mixer.gate_proj.bias", "ffn_gate.bias"},
    {"mixer.up_proj.weight", "ffn_up.weight"},
    {"mixer.up_proj.bias", "ffn_up.bias"},
    {"mixer.down_proj.weight", "ffn_down.weight"},
    {"mixer.down_proj.bias", "ffn_down.bias"},
    {"mixer.router.weight", "ffn_gate_inp.weight"},
    {"mixer.shared.gate_proj.weight", "ffn_gate_shexp.weight"},
    {"mixer.shared.up_proj.weight", "ffn_up_shexp.weight"},
    {"mixer.shared.down_proj.weight", "ffn_down_shexp.weight"}};
// Behind the number of an expert; all of them lie in one tensor.
constexpr std::pair<std::string_view, std::string_view> kInExpert[] = {
    {"gate_proj.weight", "ffn_gate_exps.weight"},
    {"up_proj.weight", "ffn_up_exps.weight"},
    {"down_proj.weight", "ffn_down_exps.weight"}};

template <size_t kCount>
std::string_view Lookup(const std::pair<std::string_view, std::string_view> (&names)[kCount],
                        std::string_view name) {
  const auto* const found =
      std::ranges::find(names, name, &std::pair<std::string_view, std::string_view>::first);
  return found == std::end(names) ? std::string_view() : found->second;
}

// The number before the first dot, and what follows it.
std::pair<int64_t, std::string_view> SplitNumber(std::string_view text) {
  int64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return {number, text.substr(text.find('.') + 1)};
}

template <class Kind>
bool AllAre(const std::vector<LayerConfig>& layers) {
  return std::ranges::all_of(
      layers, [](const LayerConfig& layer) { return std::holds_alternative<Kind>(layer); });
}

const Mamba2Config* Mamba2Of(const LayerConfig& layer) {
  if (const auto* both = std::get_if<ParallelConfig>(&layer)) return &both->mamba;
  return std::get_if<Mamba2Config>(&layer);
}

std::vector<int64_t> ShapeInFile(const LayerConfig& layer, std::string_view name,
                                 std::vector<int64_t> shape) {
  const Mamba2Config* const mamba2 = Mamba2Of(layer);
  if (name == kConvolution) {  // [channels, 1, d_conv]
    shape.erase(shape.begin() + 1);
  } else if (mamba2 != nullptr && (name == kDecay || name == "mixer.D")) {
    shape.push_back(1);
  } else if (name == kGatedNorm) {
    PITH_CHECK(mamba2 != nullptr);
    shape = {mamba2->n_groups, mamba2->gated_norm_group};
  }
  return shape;
}

// `rest` follows the layer's number.
FileTensor InLayer(const GgufArchitecture& architecture, const LayerConfig& layer, int64_t index,
                   std::string_view rest, const std::vector<int64_t>& shape) {
  FileTensor found{.name = "", .shape = shape};
  const std::string block = StrCat("blk.", index / architecture.layers_a_block, ".");
  if (rest == "norm.weight") {
    const bool second = index % architecture.layers_a_block == 1;
    // llama.cpp's Falcon-H1 has lost a suffix.
    const char* const next = architecture.name == kFalconH1 ? "ffn_norm" : "ffn_norm.weight";
    found.name = StrCat(block, second ? next : "attn_norm.weight");
  } else if (rest.starts_with(kExpert)) {
    const auto [expert, matrix] = SplitNumber(rest.substr(kExpert.size()));
    found.name = StrCat(block, Lookup(kInExpert, matrix));
    if (shape.empty()) return found;
    found.first_row = expert * shape.front();
    found.shape.insert(found.shape.begin(), std::get<ExpertsConfig>(layer).n_experts);
  } else if (const std::string_view name = Lookup(kInLayer, rest); !name.empty()) {
    found.name = StrCat(block, name);
    if (!shape.empty()) found.shape = ShapeInFile(layer, rest, shape);
  }
  return found;
}

}  // namespace

const GgufArchitecture* FindGgufArchitecture(std::string_view name) {
  const auto* const found = std::ranges::find(kArchitectures, name, &GgufArchitecture::name);
  return found == std::end(kArchitectures) ? nullptr : found;
}

std::string GgufArchitectureNames() {
  std::string names;
  for (const GgufArchitecture& each : kArchitectures) {
    const bool last = &each == std::end(kArchitectures) - 1;
    names += StrCat(names.empty() ? "" : last ? " or " : ", ", "\"", each.name, "\"");
  }
  return names;
}

const GgufArchitecture& GgufArchitectureOf(const ModelConfig& config) {
  std::string_view name = config.architecture;
  if (name.empty()) name = Lookup(kFormats, config.format);
  if (name.empty() && AllAre<Mamba1Config>(config.layers)) name = "mamba";
  if (name.empty() && AllAre<Mamba2Config>(config.layers)) name = "mamba2";
  // llama.cpp's Granite-4.0-H wants a Mamba layer; without one the model is plain Granite.
  const auto is_mamba = [](const LayerConfig& layer) { return AsMamba(layer) != nullptr; };
  if (name == "granitehybrid" && std::ranges::none_of(config.layers, is_mamba)) name = "granite";
  const GgufArchitecture* const found = FindGgufArchitecture(name);
  Require(found != nullptr, ErrorCode::kUnsupported, "GGUF: got a model of ", config.format,
          ", whose architecture pith does not write into GGUF files");
  return *found;
}

FileTensor GgufTensorOf(const ModelConfig& config, std::string_view name,
                        const std::vector<int64_t>& shape) {
  FileTensor found{.name = std::string(Lookup(kTop, name)), .shape = shape};
  if (name.starts_with(kLayers)) {
    const auto [index, rest] = SplitNumber(name.substr(kLayers.size()));
    found = InLayer(GgufArchitectureOf(config), config.layers[static_cast<size_t>(index)], index,
                    rest, shape);
  }
  if (found.name.empty()) found.name = name;
  while (found.shape.size() > 1 && found.shape.front() == 1) {
    found.shape.erase(found.shape.begin());
  }
  return found;
}

}  // namespace pith
