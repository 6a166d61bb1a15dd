#include "load/model_config.h"

#include <sstream>

#include "core/error.h"
#include "core/file.h"
#include "load/config_fields.h"

namespace pith {
namespace {

constexpr int64_t kMaxConfigBytes = int64_t{16} << 20;

}  // namespace

std::string ModelConfig::Describe() const {
  std::ostringstream out;
  out << (kind == BlockKind::kMamba1 ? "Mamba-1" : "Mamba-2") << " (" << format << "), " << n_layer
      << " layers, d_model " << d_model << ", d_inner " << d_inner << ", d_state " << d_state
      << ", d_conv " << d_conv;
  if (kind == BlockKind::kMamba1) {
    out << ", dt_rank " << dt_rank;
  } else {
    out << ", " << n_heads << " heads of " << head_dim << ", " << n_groups << " groups";
  }
  out << ", vocabulary " << vocab_size;
  return out.str();
}

ModelConfig ParseModelConfig(std::string_view json_text, const std::string& source) {
  const Json json = ParseJson(json_text, source);
  const JsonReader top(json, source);
  const bool hugging_face =
      top.Has("hidden_size") || (top.Has("model_type") && !top.Has("d_model"));
  ModelConfig config =
      hugging_face ? ParseHuggingFaceConfig(json, source) : ParseMambaSsmConfig(json, source);
  // A head reads the B and C of one group.
  Require(config.kind == BlockKind::kMamba1 || config.n_heads % config.n_groups == 0,
          ErrorCode::kCorruptData, source, ": groups: got ", config.n_groups,
          ", expected a divisor of the number of heads, ", config.n_heads);
  return config;
}

ModelConfig LoadModelConfig(const std::filesystem::path& config_json) {
  return ParseModelConfig(ReadTextFile(config_json, kMaxConfigBytes), config_json.string());
}

}  // namespace pith
