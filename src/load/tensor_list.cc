#include "load/tensor_list.h"

#include <set>
#include <utility>
#include <variant>

#include "core/error.h"

namespace pith {
namespace {

class List {
 public:
  void Matrix(std::string name, int64_t rows, int64_t cols) {
    tensors_.push_back({.name = std::move(name), .shape = {rows, cols}, .matrix = true});
  }
  void Vector(std::string name, std::vector<int64_t> shape) {
    tensors_.push_back({.name = std::move(name), .shape = std::move(shape), .matrix = false});
  }
  void Norm(const std::string& name, const ModelConfig& config) {
    Vector(name + ".weight", {config.d_model});
    if (config.layer_norm) Vector(name + ".bias", {config.d_model});
  }
  std::vector<ListedTensor> Take() { return std::move(tensors_); }

 private:
  std::vector<ListedTensor> tensors_;
};

void AddInner(const Mamba1Config& mixer, const std::string& prefix, List& list) {
  list.Matrix(prefix + "x_proj.weight", mixer.dt_rank + 2 * mixer.d_state, mixer.d_inner);
  list.Matrix(prefix + "dt_proj.weight", mixer.d_inner, mixer.dt_rank);
  list.Vector(prefix + "dt_proj.bias", {mixer.d_inner});
  list.Vector(prefix + "A_log", {mixer.d_inner, mixer.d_state});
  list.Vector(prefix + "D", {mixer.d_inner});
  if (!mixer.bcdt_weights) return;
  list.Vector(prefix + "dt_layernorm.weight", {mixer.dt_rank});
  list.Vector(prefix + "b_layernorm.weight", {mixer.d_state});
  list.Vector(prefix + "c_layernorm.weight", {mixer.d_state});
}

void AddInner(const Mamba2Config& mixer, const std::string& prefix, List& list) {
  list.Vector(prefix + "dt_bias", {mixer.n_heads});
  list.Vector(prefix + "A_log", {mixer.n_heads});
  list.Vector(prefix + "D", {mixer.d_has_hdim ? mixer.d_inner : mixer.n_heads});
  if (mixer.gated_norm) list.Vector(prefix + "norm.weight", {mixer.d_inner});
}

template <class Mixer>
void AddMixer(const Mixer& mixer, int64_t d_model, const std::string& prefix, List& list) {
  list.Matrix(prefix + "in_proj.weight", mixer.in_proj_rows(), d_model);
  if (mixer.proj_bias) list.Vector(prefix + "in_proj.bias", {mixer.in_proj_rows()});
  list.Vector(prefix + "conv1d.weight", {mixer.conv_channels(), 1, mixer.d_conv});
  if (mixer.conv_bias) list.Vector(prefix + "conv1d.bias", {mixer.conv_channels()});
  AddInner(mixer, prefix, list);
  list.Matrix(prefix + "out_proj.weight", d_model, mixer.d_inner);
  if (mixer.proj_bias) list.Vector(prefix + "out_proj.bias", {d_model});
}

void AddAttention(const AttentionConfig& heads, int64_t d_in, int64_t d_out,
                  const std::string& prefix, List& list) {
  const auto add = [&](const char* name, int64_t rows, int64_t cols, bool bias) {
    list.Matrix(StrCat(prefix, name, ".weight"), rows, cols);
    if (bias) list.Vector(StrCat(prefix, name, ".bias"), {rows});
  };
  add("q_proj", heads.q_width(), d_in, heads.qkv_bias);
  add("k_proj", heads.kv_width(), d_in, heads.qkv_bias);
  add("v_proj", heads.kv_width(), d_in, heads.qkv_bias);
  add("o_proj", d_out, heads.q_width(), heads.out_bias);
  if (!heads.qk_norm) return;
  list.Vector(prefix + "q_norm.weight", {heads.head_dim});
  list.Vector(prefix + "k_norm.weight", {heads.head_dim});
}

void AddMlp(const MlpConfig& mlp, int64_t d_model, const std::string& prefix, List& list) {
  const auto add = [&](const char* name, int64_t rows, int64_t cols) {
    list.Matrix(StrCat(prefix, name, ".weight"), rows, cols);
    if (mlp.bias) list.Vector(StrCat(prefix, name, ".bias"), {rows});
  };
  if (mlp.gated) add("gate_proj", mlp.d_hidden, d_model);
  add("up_proj", mlp.d_hidden, d_model);
  add("down_proj", d_model, mlp.d_hidden);
}

void AddExperts(const ExpertsConfig& experts, int64_t d_model, const std::string& prefix,
                List& list) {
  list.Matrix(prefix + "router.weight", experts.n_experts, d_model);
  if (experts.correction) list.Vector(prefix + "router.correction", {experts.n_experts});
  const int64_t hidden = experts.expert.d_hidden;
  const auto add = [&](const char* name, int64_t rows, int64_t cols) {
    for (int64_t e = 0; e < experts.n_experts; ++e) {
      list.Matrix(StrCat(prefix, "experts.", e, ".", name), rows, cols);
    }
  };
  if (experts.expert.gated) add("gate_proj.weight", hidden, d_model);
  add("up_proj.weight", hidden, d_model);
  add("down_proj.weight", d_model, hidden);
  if (experts.shared.d_hidden > 0) AddMlp(experts.shared, d_model, prefix + "shared.", list);
}

void AddAdapter(const char* of, int64_t rows, int64_t cols, int64_t rank, const std::string& prefix,
                List& list) {
  list.Matrix(StrCat(prefix, "adapters.", of, ".0.weight"), rank, cols);
  list.Matrix(StrCat(prefix, "adapters.", of, ".1.weight"), rows, rank);
}

// The first layer of a block lists what all of its layers share.
void AddSharedBlock(const SharedBlockConfig& c, bool first, int64_t d_model,
                    const std::string& prefix, List& list) {
  if (first) {
    const std::string shared = prefix + "shared.";
    list.Vector(shared + "norm.weight", {2 * d_model});
    list.Vector(shared + "mlp_norm.weight", {d_model});
    AddAttention(c.attention, 2 * d_model, d_model, shared, list);
    AddMlp(c.mlp, d_model, shared, list);
  }
  const AttentionConfig& heads = c.attention;
  if (c.attention_adapters) {
    AddAdapter("q", heads.q_width(), 2 * d_model, c.adapter_rank, prefix, list);
    AddAdapter("k", heads.kv_width(), 2 * d_model, c.adapter_rank, prefix, list);
    AddAdapter("v", heads.kv_width(), 2 * d_model, c.adapter_rank, prefix, list);
  }
  list.Matrix(prefix + "adapters.gate_up.0.weight", c.adapter_rank, d_model);
  list.Matrix(prefix + "adapters.gate.1.weight", c.mlp.d_hidden, c.adapter_rank);
  list.Matrix(prefix + "adapters.up.1.weight", c.mlp.d_hidden, c.adapter_rank);
  list.Matrix(prefix + "linear.weight", d_model, d_model);
  AddMixer(c.mamba, d_model, prefix, list);
}

struct Add {
  int64_t d_model;
  std::string prefix;
  List& list;
  std::set<int64_t>& blocks;  // that were listed
  void operator()(const Mamba1Config& c) { AddMixer(c, d_model, prefix, list); }
  void operator()(const Mamba2Config& c) { AddMixer(c, d_model, prefix, list); }
  void operator()(const AttentionConfig& c) { AddAttention(c, d_model, d_model, prefix, list); }
  void operator()(const MlpConfig& c) { AddMlp(c, d_model, prefix, list); }
  void operator()(const ExpertsConfig& c) { AddExperts(c, d_model, prefix, list); }
  void operator()(const ParallelConfig& c) {
    AddMixer(c.mamba, d_model, prefix, list);
    AddAttention(c.attention, d_model, d_model, prefix, list);
  }
  void operator()(const SharedBlockConfig& c) {
    AddSharedBlock(c, blocks.insert(c.block).second, d_model, prefix, list);
  }
};

}  // namespace

std::vector<ListedTensor> ListTensors(const ModelConfig& config) {
  List list;
  list.Matrix("backbone.embedding.weight", config.vocab_size, config.d_model);
  if (!config.tie_embeddings) list.Matrix("lm_head.weight", config.vocab_size, config.d_model);
  list.Norm("backbone.norm_f", config);
  std::set<int64_t> blocks;
  for (int64_t l = 0; l < config.n_layer(); ++l) {
    const std::string prefix = StrCat("backbone.layers.", l, ".");
    list.Norm(prefix + "norm", config);
    std::visit(Add{config.d_model, prefix + "mixer.", list, blocks},
               config.layers[static_cast<size_t>(l)]);
  }
  return list.Take();
}

}  // namespace pith
