#include "engine/gguf_rope.h"

#include <algorithm>
#include <variant>

#include "load/config_rope.h"
#include "load/gguf_names.h"

namespace pith {
namespace {

// The first layer that attends; all others are like it. Null where none does.
const AttentionConfig* AttentionOf(const ModelConfig& config) {
  for (const LayerConfig& layer : config.layers) {
    if (const auto* attention = std::get_if<AttentionConfig>(&layer)) return attention;
    if (const auto* both = std::get_if<ParallelConfig>(&layer)) return &both->attention;
  }
  return nullptr;
}

}  // namespace

RowOrder::RowOrder(const ModelConfig& config, std::string_view name) {
  const AttentionConfig* const attention = AttentionOf(config);
  const bool rotates =
      name.find("mixer.q_proj.") != name.npos || name.find("mixer.k_proj.") != name.npos;
  if (attention == nullptr || !rotates || attention->rope_interleaved) return;
  if (GgufArchitectureOf(config).rope != GgufRope::kInterleaved) return;
  head_dim_ = attention->head_dim;
  half_ = static_cast<int64_t>(attention->rope.size());
}

int64_t RowOrder::From(int64_t r) const {
  if (half_ == 0) return r;
  const int64_t in_head = r % head_dim_;
  if (in_head >= 2 * half_) return r;
  return r - in_head + in_head / 2 + in_head % 2 * half_;
}

std::vector<float> GgufRopeFactors(const ModelConfig& config) {
  const AttentionConfig* const attention = AttentionOf(config);
  if (attention == nullptr || attention->rope.empty()) return {};
  const auto pairs = static_cast<int64_t>(attention->rope.size());
  const std::vector<double> plain = RopeFrequencies(attention->rope_theta, 2 * pairs);
  if (plain == attention->rope) return {};
  std::vector<float> factors;
  for (size_t i = 0; i < plain.size(); ++i) {
    factors.push_back(static_cast<float>(plain[i] / attention->rope[i]));
  }
  return factors;
}

}  // namespace pith
