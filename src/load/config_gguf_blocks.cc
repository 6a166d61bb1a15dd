// Keys and their defaults are those of llama.cpp's src/models/.
#include "load/config_gguf_blocks.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "core/error.h"
#include "load/config_rope.h"
#include "load/stored_tensor.h"

namespace pith {
namespace {

// The one number above 0 in a list; 0 where there is none.
int64_t OneOf(GgufFields& keys, std::string_view key, const std::vector<int64_t>& numbers) {
  const int64_t most = *std::ranges::max_element(numbers);
  for (const int64_t number : numbers) {
    if (number != 0 && number != most) keys.Fail(key, "the same number wherever it is not 0");
  }
  return most;
}

// What divides the frequencies: a tensor, in Llama 3.
std::vector<float> ReadFactors(GgufFields& keys, int64_t count) {
  const auto& tensors = keys.file().tensors();
  const auto found = std::ranges::find(tensors, kGgufRopeFactors, &GgufTensor::name);
  if (found == tensors.end()) return std::vector<float>(static_cast<size_t>(count), 1);
  Require(found->dtype == DType::kF32 && found->shape == std::vector{count},
          ErrorCode::kCorruptData, keys.file().source(), ": ", Quoted(kGgufRopeFactors),
          ": got shape ", ShapeText(found->shape), ", expected [", count, "] of F32");
  std::vector<float> factors(static_cast<size_t>(count));
  std::memcpy(factors.data(), found->bytes.data(), found->bytes.size());
  for (const float factor : factors) {
    Require(factor > 0 && std::isfinite(factor), ErrorCode::kCorruptData, keys.file().source(),
            ": ", Quoted(kGgufRopeFactors), ": got ", factor, ", expected finite numbers above 0");
  }
  return factors;
}

float ReadLinearScaling(GgufFields& keys) {
  keys.Named("rope.scaling.original_context_length");
  const float factor = keys.Positive("rope.scaling.factor", 1);
  if (!keys.Has("rope.scaling.type")) return 1;
  const std::string_view type = keys.file().String(keys.Named("rope.scaling.type"));
  Require(type == "none" || type == "linear", ErrorCode::kUnsupported, keys.file().source(), ": ",
          keys.Named("rope.scaling.type"), ": got ", Quoted(type),
          ", which is not supported; expected \"none\" or \"linear\"");
  return type == "linear" ? factor : 1;
}

// The key that says how wide a head is.
std::string_view WidthKey(GgufFields& keys) {
  return keys.Has("attention.key_length") ? "attention.key_length" : "attention.head_count";
}

void ReadRotation(GgufFields& keys, const GgufArchitecture& architecture, AttentionConfig& heads) {
  const float theta = keys.Positive("rope.freq_base", 10000);
  const float linear = ReadLinearScaling(keys);
  int64_t dim = heads.head_dim;
  if (keys.Has("rope.dimension_count")) {
    dim = keys.file().Int(keys.Named("rope.dimension_count"), 0, kMaxDim);
  }
  // Granite's switch has the name of something else.
  const bool rotates = !architecture.multipliers || keys.Bool("rope.scaling.finetuned", true);
  if (!rotates || architecture.rope == GgufRope::kNone) return;
  if (dim < 2 || dim > heads.head_dim || dim % 2 != 0) {
    keys.Fail(keys.Has("rope.dimension_count") ? "rope.dimension_count" : WidthKey(keys),
              StrCat("an even number of a head's ", heads.head_dim, " numbers, at least 2"));
  }
  const std::vector<float> factors = architecture.rope_factors
                                         ? ReadFactors(keys, dim / 2)
                                         : std::vector<float>(static_cast<size_t>(dim / 2), 1);
  heads.rope = RopeFrequencies(theta, dim);
  for (size_t i = 0; i < heads.rope.size(); ++i) {
    heads.rope[i] = static_cast<float>(heads.rope[i] / factors[i] / linear);
  }
  heads.rope_theta = theta;
  heads.rope_interleaved = architecture.rope == GgufRope::kInterleaved;
}

void CheckHeads(GgufFields& keys, const AttentionConfig& heads) {
  if (heads.n_heads == 0 || heads.n_heads % heads.n_kv_heads != 0) {
    keys.Fail("attention.head_count",
              StrCat("a multiple of attention.head_count_kv = ", heads.n_kv_heads));
  }
  if (heads.head_dim < 1 || heads.q_width() > kMaxDim) {
    keys.Fail(WidthKey(keys), StrCat("heads that are together 1 to ", kMaxDim, " numbers wide"));
  }
}

// n_heads 0: no block attends. Biases are told by tensors.
AttentionConfig ReadAttention(GgufFields& keys, const GgufArchitecture& architecture,
                              const std::vector<int64_t>& kv_heads, const ModelConfig& config) {
  AttentionConfig heads;
  heads.n_kv_heads = OneOf(keys, "attention.head_count_kv", kv_heads);
  heads.n_heads = OneOf(keys, "attention.head_count",
                        keys.PerBlock("attention.head_count", std::ssize(kv_heads)));
  if (heads.n_kv_heads == 0) heads.n_heads = 0;
  heads.head_dim = heads.n_heads == 0 ? 1 : config.d_model / heads.n_heads;
  if (keys.Has("attention.key_length")) heads.head_dim = keys.Size("attention.key_length");
  if (keys.Has("attention.value_length") && keys.Size("attention.value_length") != heads.head_dim) {
    keys.Fail("attention.value_length", StrCat("attention.key_length = ", heads.head_dim));
  }
  heads.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(heads.head_dim)));
  if (architecture.multipliers) heads.scale = keys.Positive("attention.scale", heads.scale);
  if (heads.n_kv_heads > 0) CheckHeads(keys, heads);
  ReadRotation(keys, architecture, heads);
  return heads;
}

class Blocks {
 public:
  Blocks(GgufFields& keys, const GgufArchitecture& architecture, int64_t blocks,
         const ModelConfig& config)
      : keys_(keys), name_(architecture.name) {
    kv_heads_ = keys.PerBlock(
        keys.Has("attention.head_count_kv") ? "attention.head_count_kv" : "attention.head_count",
        blocks);
    hidden_ = keys.PerBlock("feed_forward_length", blocks);
    attention_ = ReadAttention(keys, architecture, kv_heads_, config);
    if (name_ == "jamba") {
      mamba1_ = ReadGgufMamba1(keys, config.norm_eps);
      mamba1_.bcdt_norm = mamba1_.bcdt_weights = true;
      mamba1_.bcdt_norm_eps = config.norm_eps;
    } else if (name_ == "granitehybrid" || name_ == "nemotron_h" || name_ == "falcon-h1") {
      mamba2_ = ReadGgufMamba2(keys, config.norm_eps);
    }
    ReadExperts();
  }

  void Add(int64_t block, std::vector<LayerConfig>& layers) {
    const auto b = static_cast<size_t>(block);
    const std::string prefix = StrCat("blk.", block, ".");
    if (name_ == "nemotron_h") {
      layers.push_back(hidden_[b] > 0 ? LayerConfig(Mlp(prefix, hidden_[b])) : Mixer(prefix, b));
      return;
    }
    layers.push_back(Mixer(prefix, b));
    layers.push_back(Second(prefix, b));
  }

 private:
  void ReadExperts() {
    const bool known = name_ == "granitehybrid" || name_ == "jamba";
    if (!known) keys_.Zero("expert_count"), keys_.Zero("expert_used_count");
    if (!known || !keys_.Has("expert_count")) return;
    keys_.Named("expert_used_count");
    keys_.Named("expert_shared_feed_forward_length");
    experts_.n_experts = keys_.file().Int(keys_.Named("expert_count"), 0, 1 << 14);
    if (experts_.n_experts == 0) return;
    experts_.chosen = keys_.Size("expert_used_count", experts_.n_experts);
    if (name_ == "jamba") {
      experts_.router = ExpertRouter::kSoftmaxOfAll;
    } else if (keys_.Has("expert_shared_feed_forward_length")) {
      experts_.shared.d_hidden =
          keys_.file().Int(keys_.Named("expert_shared_feed_forward_length"), 0, kMaxDim);
    }
  }

  LayerConfig Mixer(const std::string& prefix, size_t b) {
    AttentionConfig attention = attention_;
    attention.qkv_bias = keys_.HasTensor(prefix + "attn_q.bias");
    attention.out_bias = keys_.HasTensor(prefix + "attn_output.bias");
    Mamba2Config mamba2 = mamba2_;
    mamba2.conv_bias = keys_.HasTensor(prefix + "ssm_conv1d.bias");
    if (name_ == "falcon-h1") {
      if (kv_heads_[b] == 0) FailHeads();
      mamba2.gated_norm = keys_.HasTensor(prefix + "ssm_norm.weight");
      return ParallelConfig{.mamba = mamba2, .attention = attention};
    }
    if (kv_heads_[b] > 0) {
      return attention;
    }
    if (name_ == "jamba") return mamba1_;
    if (mamba2_.n_heads == 0) FailHeads();
    return mamba2;
  }

  [[noreturn]] void FailHeads() {
    keys_.Fail("attention.head_count_kv", "a number above 0 for each block");
  }

  MlpConfig Mlp(const std::string& prefix, int64_t width) {
    if (width == 0) keys_.Fail("feed_forward_length", "a number above 0 for each block");
    MlpConfig mlp{.d_hidden = width, .bias = keys_.HasTensor(prefix + "ffn_up.bias")};
    if (name_ == "nemotron_h") {
      mlp.activation = MlpActivation::kReluSquared;
      mlp.gated = false;
    }
    return mlp;
  }

  LayerConfig Second(const std::string& prefix, size_t b) {
    const MlpConfig mlp = Mlp(prefix, hidden_[b]);
    const bool mixture = experts_.n_experts > 0 &&
                         (name_ != "jamba" || keys_.HasTensor(prefix + "ffn_gate_inp.weight"));
    if (!mixture) return mlp;
    ExpertsConfig experts = experts_;
    experts.expert = mlp;
    return experts;
  }

  GgufFields& keys_;
  const std::string_view name_;
  std::vector<int64_t> kv_heads_;
  std::vector<int64_t> hidden_;
  AttentionConfig attention_;
  Mamba1Config mamba1_;
  Mamba2Config mamba2_;
  ExpertsConfig experts_;
};

}  // namespace

Mamba1Config ReadGgufMamba1(GgufFields& keys, float norm_eps) {
  Mamba1Config mixer;
  mixer.d_conv = keys.Size("ssm.conv_kernel", 8);
  mixer.d_inner = keys.Size("ssm.inner_size");
  mixer.d_state = keys.Size("ssm.state_size");
  mixer.dt_rank = keys.Size("ssm.time_step_rank");
  mixer.bcdt_norm = keys.Bool("ssm.dt_b_c_rms", false);
  // llama.cpp knows one ε for all norms; FalconMamba's mixer has its own, which pith writes here.
  mixer.bcdt_norm_eps = norm_eps;
  if (keys.Has(kGgufMixerEpsilon)) mixer.bcdt_norm_eps = keys.Epsilon(kGgufMixerEpsilon);
  if (keys.Has("ssm.group_count")) keys.file().Int(keys.Named("ssm.group_count"), 0, 1);
  return mixer;
}

Mamba2Config ReadGgufMamba2(GgufFields& keys, float norm_eps) {
  Mamba2Config mixer;
  mixer.d_conv = keys.Size("ssm.conv_kernel", 8);
  mixer.d_inner = keys.Size("ssm.inner_size");
  mixer.d_state = keys.Size("ssm.state_size");
  mixer.n_heads = keys.Size("ssm.time_step_rank");
  mixer.n_groups = keys.Size("ssm.group_count");
  mixer.chunk_size = 256;
  mixer.gated_norm = true;
  mixer.gated_norm_eps = norm_eps;
  if (mixer.d_inner % mixer.n_heads != 0) {
    keys.Fail("ssm.time_step_rank",
              StrCat("the number of heads, a divisor of ssm.inner_size = ", mixer.d_inner));
  }
  if (mixer.n_heads % mixer.n_groups != 0) {
    keys.Fail("ssm.group_count", StrCat("a divisor of the number of heads, ", mixer.n_heads));
  }
  mixer.head_dim = mixer.d_inner / mixer.n_heads;
  mixer.gated_norm_group = mixer.d_inner / mixer.n_groups;
  return mixer;
}

void ReadGgufBlocks(GgufFields& keys, const GgufArchitecture& architecture, int64_t blocks,
                    ModelConfig& config) {
  if (architecture.multipliers) {
    config.embedding_scale = keys.Positive("embedding_scale", 1);
    config.residual_scale = keys.Positive("residual_scale", 1);
    config.logits_scale = 1 / keys.Positive("logit_scale", 1);
  }
  Blocks reader(keys, architecture, blocks, config);
  for (int64_t block = 0; block < blocks; ++block) reader.Add(block, config.layers);
}

}  // namespace pith
