#include "load/model_config.h"

#include <sstream>

#include "core/error.h"
#include "core/file.h"
#include "load/config_fields.h"
#include "load/quantised_files.h"

namespace pith {
namespace {

constexpr int64_t kMaxConfigBytes = int64_t{16} << 20;

}  // namespace

std::string_view KindName(const LayerConfig& layer) {
  return std::holds_alternative<Mamba1Config>(layer) ? "Mamba-1" : "Mamba-2";
}

std::string ModelConfig::Describe() const {
  std::ostringstream out;
  const LayerConfig& first = layers.front();
  out << KindName(first) << " (" << format << "), " << n_layer() << " layers, d_model " << d_model;
  std::visit(
      [&](const auto& mixer) {
        out << ", d_inner " << mixer.d_inner << ", d_state " << mixer.d_state << ", d_conv "
            << mixer.d_conv;
      },
      first);
  if (const auto* mamba1 = std::get_if<Mamba1Config>(&first)) {
    out << ", dt_rank " << mamba1->dt_rank;
  } else if (const auto* mamba2 = std::get_if<Mamba2Config>(&first)) {
    out << ", " << mamba2->n_heads << " heads of " << mamba2->head_dim << ", " << mamba2->n_groups
        << " groups";
  }
  out << ", vocabulary " << vocab_size;
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
  for (const LayerConfig& layer : config.layers) {
    const auto* mamba2 = std::get_if<Mamba2Config>(&layer);
    // A head reads the B and C of one group.
    Require(mamba2 == nullptr || mamba2->n_heads % mamba2->n_groups == 0, ErrorCode::kCorruptData,
            source, ": groups: got ", mamba2 == nullptr ? 0 : mamba2->n_groups,
            ", expected a divisor of the number of heads, ",
            mamba2 == nullptr ? 0 : mamba2->n_heads);
  }
  return config;
}

ModelConfig LoadModelConfig(const std::filesystem::path& config_json) {
  return ParseModelConfig(ReadTextFile(config_json, kMaxConfigBytes), config_json.string());
}

}  // namespace pith
