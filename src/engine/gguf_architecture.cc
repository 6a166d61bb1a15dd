#include "engine/gguf_architecture.h"

#include <algorithm>
#include <cstdint>
#include <utility>
#include <variant>
#include <vector>

#include "core/error.h"
#include "load/gguf_names.h"

namespace pith {
namespace {

// A key with one number for all blocks where they agree, and else with an array.
void AddPerBlock(const std::string& key, const std::vector<int32_t>& numbers, GgufHead& head) {
  const bool same = std::ranges::all_of(numbers, [&](int32_t n) { return n == numbers[0]; });
  same ? head.AddUint32(key, numbers[0]) : head.AddInt32s(key, numbers);
}

class Architecture {
 public:
  Architecture(const ModelConfig& config, GgufHead& head)
      : config_(config),
        architecture_(GgufArchitectureOf(config)),
        prefix_(StrCat(architecture_.name, ".")),
        head_(head) {}

  void Add(const std::string& name) {
    head_.AddString("general.architecture", architecture_.name);
    head_.AddString("general.type", "model");
    head_.AddString("general.name", name);
    head_.AddUint32(Key("context_length"), int64_t{1} << 20);  // llama.cpp wants one; none is
    head_.AddUint32(Key("embedding_length"), config_.d_model);
    head_.AddUint32(Key("block_count"), blocks());
    head_.AddUint32(Key("vocab_size"), config_.vocab_size);
    head_.AddFloat32(Key("attention.layer_norm_rms_epsilon"), config_.norm_eps);
    if (architecture_.name == "nemotron_h") {
      head_.AddFloat32(Key("attention.layer_norm_epsilon"), config_.norm_eps);
    }
    AddWidths();
    for (const LayerConfig& layer : config_.layers) {
      std::visit([&](const auto& kind) { Once(kind); }, layer);
    }
    if (architecture_.multipliers) AddMultipliers();
  }

 private:
  std::string Key(std::string_view key) const { return StrCat(prefix_, key); }
  int64_t blocks() const { return config_.n_layer() / architecture_.layers_a_block; }

  // Of each block, which tell what it is made of.
  void AddWidths() {
    std::vector<int32_t> hidden(static_cast<size_t>(blocks()));
    std::vector<int32_t> kv_heads = hidden;
    int64_t heads = 0;
    for (size_t l = 0; l < config_.layers.size(); ++l) {
      const size_t block = l / static_cast<size_t>(architecture_.layers_a_block);
      const LayerConfig& layer = config_.layers[l];
      const auto* attention = std::get_if<AttentionConfig>(&layer);
      if (const auto* both = std::get_if<ParallelConfig>(&layer)) attention = &both->attention;
      if (attention != nullptr) {
        kv_heads[block] = static_cast<int32_t>(attention->n_kv_heads);
        heads = attention->n_heads;
      }
      if (const auto* mlp = std::get_if<MlpConfig>(&layer)) {
        hidden[block] = static_cast<int32_t>(mlp->d_hidden);
      }
      if (const auto* experts = std::get_if<ExpertsConfig>(&layer)) {
        hidden[block] = static_cast<int32_t>(experts->expert.d_hidden);
      }
    }
    AddPerBlock(Key("feed_forward_length"), hidden, head_);
    head_.AddUint32(Key("attention.head_count"), heads);
    if (!architecture_.name.starts_with("mamba")) {
      AddPerBlock(Key("attention.head_count_kv"), kv_heads, head_);
    }
  }

  // The first layer of each kind says what all of the kind are.
  void Once(const Mamba1Config& mixer) {
    if (std::exchange(mamba_, true)) return;
    AddMamba(mixer);
    head_.AddUint32(Key("ssm.time_step_rank"), mixer.dt_rank);
    if (architecture_.name != "mamba") return;
    head_.AddBool(Key("ssm.dt_b_c_rms"), mixer.bcdt_norm);
    if (mixer.bcdt_norm && mixer.bcdt_norm_eps != config_.norm_eps) {
      head_.AddFloat32(Key(kGgufMixerEpsilon), mixer.bcdt_norm_eps);
    }
  }
  void Once(const Mamba2Config& mixer) {
    if (std::exchange(mamba_, true)) return;
    AddMamba(mixer);
    head_.AddUint32(Key("ssm.time_step_rank"), mixer.n_heads);
    head_.AddUint32(Key("ssm.group_count"), mixer.n_groups);
  }
  void AddMamba(const MambaConfig& mixer) {
    head_.AddUint32(Key("ssm.conv_kernel"), mixer.d_conv);
    head_.AddUint32(Key("ssm.inner_size"), mixer.d_inner);
    head_.AddUint32(Key("ssm.state_size"), mixer.d_state);
  }
  void Once(const AttentionConfig& attention) {
    if (std::exchange(attention_, true)) return;
    head_.AddUint32(Key("attention.key_length"), attention.head_dim);
    head_.AddUint32(Key("attention.value_length"), attention.head_dim);
    if (architecture_.multipliers) {
      head_.AddFloat32(Key("attention.scale"), attention.scale);
      head_.AddBool(Key("rope.scaling.finetuned"), !attention.rope.empty());
    }
    if (attention.rope.empty()) return;
    head_.AddUint32(Key("rope.dimension_count"), 2 * std::ssize(attention.rope));
    head_.AddFloat32(Key("rope.freq_base"), static_cast<float>(attention.rope_theta));
  }
  void Once(const ParallelConfig& both) {
    Once(both.mamba);
    Once(both.attention);
  }
  void Once(const SharedBlockConfig& /*layer*/) { PITH_CHECK(false); }  // no architecture has it
  void Once(const MlpConfig& /*mlp*/) {}
  void Once(const ExpertsConfig& experts) {
    if (std::exchange(experts_, true)) return;
    head_.AddUint32(Key("expert_count"), experts.n_experts);
    head_.AddUint32(Key("expert_used_count"), experts.chosen);
    if (experts.shared.d_hidden > 0) {
      head_.AddUint32(Key("expert_shared_feed_forward_length"), experts.shared.d_hidden);
    }
  }

  void AddMultipliers() {
    head_.AddFloat32(Key("embedding_scale"), config_.embedding_scale);
    head_.AddFloat32(Key("residual_scale"), config_.residual_scale);
    head_.AddFloat32(Key("logit_scale"), 1 / config_.logits_scale);
  }

  const ModelConfig& config_;
  const GgufArchitecture& architecture_;
  const std::string prefix_;
  GgufHead& head_;
  bool mamba_ = false;
  bool attention_ = false;
  bool experts_ = false;
};

}  // namespace

void AddArchitectureKeys(const ModelConfig& config, const std::string& name, GgufHead& head) {
  Architecture(config, head).Add(name);
}

}  // namespace pith
