#include "load/tensor_list.h"

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

}  // namespace

std::vector<ListedTensor> ListTensors(const ModelConfig& config) {
  List list;
  list.Matrix("backbone.embedding.weight", config.vocab_size, config.d_model);
  if (!config.tie_embeddings) list.Matrix("lm_head.weight", config.vocab_size, config.d_model);
  list.Norm("backbone.norm_f", config);
  for (int64_t l = 0; l < config.n_layer(); ++l) {
    const std::string prefix = StrCat("backbone.layers.", l, ".");
    list.Norm(prefix + "norm", config);
    const LayerConfig& layer = config.layers[static_cast<size_t>(l)];
    if (const auto* mamba1 = std::get_if<Mamba1Config>(&layer)) {
      AddMixer(*mamba1, config.d_model, prefix + "mixer.", list);
    } else if (const auto* mamba2 = std::get_if<Mamba2Config>(&layer)) {
      AddMixer(*mamba2, config.d_model, prefix + "mixer.", list);
    } else {
      Throw(ErrorCode::kUnsupported, "convert: got a model of ", config.format, " with ",
            KindName(layer), " layers, expected one of Mamba layers alone");
    }
  }
  return list.Take();
}

}  // namespace pith
