#include "load/model_config.h"

#include <map>
#include <sstream>

#include "core/error.h"
#include "core/file.h"
#include "load/config_fields.h"
#include "load/quantised_files.h"

namespace pith {
namespace {

constexpr int64_t kMaxConfigBytes = int64_t{16} << 20;

// What a layer of each kind says of itself, behind the model's width.
struct Detail {
  std::ostream& out;

  void operator()(const Mamba1Config& c) const {
    Common(c);
    out << ", dt_rank " << c.dt_rank;
  }
  void operator()(const Mamba2Config& c) const {
    Common(c);
    out << ", " << c.n_heads << " heads of " << c.head_dim << ", " << c.n_groups << " groups";
  }
  void operator()(const AttentionConfig& c) const {
    out << ", " << c.n_heads << " heads of " << c.head_dim << " over " << c.n_kv_heads
        << (c.rope.empty() ? " without positions" : " with rotation");
    if (c.window > 0) out << ", window " << c.window;
  }
  void operator()(const MlpConfig& c) const { out << ", width " << c.d_hidden; }
  void operator()(const ExpertsConfig& c) const {
    out << ", " << c.chosen << " of " << c.n_experts << " experts of " << c.expert.d_hidden;
    if (c.shared.d_hidden > 0) out << " and a shared one of " << c.shared.d_hidden;
  }
  void operator()(const ParallelConfig& c) const {
    (*this)(c.mamba);
    (*this)(c.attention);
  }
  void operator()(const SharedBlockConfig& c) const {
    (*this)(c.mamba);
    (*this)(c.attention);
    (*this)(c.mlp);
    out << ", adapters of rank " << c.adapter_rank;
  }
  void Common(const MambaConfig& c) const {
    out << ", d_inner " << c.d_inner << ", d_state " << c.d_state << ", d_conv " << c.d_conv;
  }
};

void CheckHeads(const LayerConfig& layer, const std::string& source) {
  if (const auto* parallel = std::get_if<ParallelConfig>(&layer)) {
    CheckHeads(parallel->mamba, source);
    CheckHeads(parallel->attention, source);
  }
  if (const auto* shared = std::get_if<SharedBlockConfig>(&layer)) {
    CheckHeads(shared->mamba, source);
    CheckHeads(shared->attention, source);
  }
  if (const auto* mamba2 = std::get_if<Mamba2Config>(&layer)) {
    // A head reads the B and C of one group.
    Require(mamba2->n_heads % mamba2->n_groups == 0, ErrorCode::kCorruptData, source,
            ": groups: got ", mamba2->n_groups, ", expected a divisor of the number of heads, ",
            mamba2->n_heads);
  }
  if (const auto* attention = std::get_if<AttentionConfig>(&layer)) {
    Require(attention->n_heads % attention->n_kv_heads == 0, ErrorCode::kCorruptData, source,
            ": num_key_value_heads: got ", attention->n_kv_heads,
            ", expected a divisor of num_attention_heads, ", attention->n_heads);
  }
}

}  // namespace

const MambaConfig* AsMamba(const LayerConfig& layer) {
  if (const auto* mamba1 = std::get_if<Mamba1Config>(&layer)) return mamba1;
  return std::get_if<Mamba2Config>(&layer);
}

std::string_view KindName(const LayerConfig& layer) {
  constexpr std::string_view kNames[] = {"Mamba-1",
                                         "Mamba-2",
                                         "attention",
                                         "MLP",
                                         "experts",
                                         "Mamba-2 beside attention",
                                         "Mamba-2 behind a shared block"};
  static_assert(std::size(kNames) == std::variant_size_v<LayerConfig>);
  return kNames[layer.index()];
}

std::string ModelConfig::Describe() const {
  std::map<size_t, std::pair<const LayerConfig*, int64_t>>
      kinds;  // the first of each, their number
  for (const LayerConfig& layer : layers) {
    auto& [first, count] = kinds.try_emplace(layer.index(), &layer, 0).first->second;
    ++count;
  }
  std::ostringstream out;
  if (kinds.size() == 1) {
    out << KindName(layers.front()) << " (" << format << "), " << n_layer() << " layers, d_model "
        << d_model;
    std::visit(Detail{out}, layers.front());
  } else {
    out << format << ", " << n_layer() << " layers, d_model " << d_model;
    for (const auto& [index, kind] : kinds) {
      out << "; " << kind.second << " " << KindName(*kind.first);
      std::visit(Detail{out}, *kind.first);
    }
    out << ";";
  }
  out << (kinds.size() == 1 ? ", vocabulary " : " vocabulary ") << vocab_size;
  return out.str();
}

ModelConfig ParseModelConfig(std::string_view json_text, const std::string& source) {
  Json json = ParseJson(json_text, source);
  const bool quantised = TakeQuantisationConfig(json, source);
  const JsonReader top(json, source);
  const bool hugging_face =
      top.Has("hidden_size") || (top.Has("model_type") && !top.Has("d_model"));
  ModelConfig config =
      hugging_face ? ParseHuggingFaceConfig(json, source) : ParseMambaSsmConfig(json, source);
  config.quantised = quantised;
  for (const LayerConfig& layer : config.layers) CheckHeads(layer, source);
  return config;
}

ModelConfig LoadModelConfig(const std::filesystem::path& config_json) {
  return ParseModelConfig(ReadTextFile(config_json, kMaxConfigBytes), config_json.string());
}

}  // namespace pith
