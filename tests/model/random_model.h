// Small models with random weights, in memory.
#ifndef TESTS_MODEL_RANDOM_MODEL_H_
#define TESTS_MODEL_RANDOM_MODEL_H_

#include <cmath>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "model/model.h"
#include "reduce/reduction.h"

namespace pith::testing {

struct Shape {
  BlockKind kind = BlockKind::kMamba2;
  int64_t n_layer = 4;
  int64_t n_groups = 1;
  int64_t d_conv = 4;
  DType dtype = DType::kF32;
};

inline ModelConfig MakeConfig(const Shape& shape) {
  ModelConfig c;
  c.kind = shape.kind;
  c.format = "mamba_ssm";
  c.d_model = 48;
  c.n_layer = shape.n_layer;
  c.vocab_size = 97;
  c.d_inner = 96;
  c.d_state = shape.kind == BlockKind::kMamba1 ? 16 : 24;
  c.d_conv = shape.d_conv;
  c.tie_embeddings = true;
  if (shape.kind == BlockKind::kMamba1) {
    c.dt_rank = 3;
  } else {
    c.n_heads = 6;
    c.head_dim = 16;
    c.n_groups = shape.n_groups;
    c.chunk_size = 256;
    c.gated_norm = true;
    c.gated_norm_group = c.d_inner / shape.n_groups;
  }
  return c;
}

// Owns what the views of ModelWeights point to.
class RandomWeights {
 public:
  explicit RandomWeights(uint64_t seed) : random_(seed) {}

  std::vector<float> Vector(int64_t size, float mean, float spread) {
    std::normal_distribution<float> normal(mean, spread);
    std::vector<float> v(size);
    for (float& x : v) x = normal(random_);
    return v;
  }
  std::vector<float> Uniform(int64_t size, float low, float high) {
    std::uniform_real_distribution<float> uniform(low, high);
    std::vector<float> v(size);
    for (float& x : v) x = uniform(random_);
    return v;
  }
  // Entries ~ N(0, 1/cols), as trained matrices roughly have.
  WeightView Matrix(DType dtype, int64_t rows, int64_t cols) {
    const std::vector<float> values =
        Vector(rows * cols, 0, 1 / std::sqrt(static_cast<float>(cols)));
    storage_->emplace_back(values.size() * SizeOf(dtype));
    std::byte* data = storage_->back().data();
    for (size_t i = 0; i < values.size(); ++i) {
      if (dtype == DType::kF32) reinterpret_cast<float*>(data)[i] = values[i];
      if (dtype == DType::kBF16) reinterpret_cast<BF16*>(data)[i] = ToBF16(values[i]);
    }
    return {dtype, data, rows, cols};
  }
  std::shared_ptr<const void> storage() const { return storage_; }

 private:
  std::mt19937_64 random_;
  std::shared_ptr<std::vector<std::vector<std::byte>>> storage_ =
      std::make_shared<std::vector<std::vector<std::byte>>>();
};

inline LayerWeights MakeLayer(const ModelConfig& c, DType dtype, RandomWeights& w) {
  const bool one = c.kind == BlockKind::kMamba1;
  LayerWeights l;
  l.norm_weight = w.Vector(c.d_model, 1, 0.1f);
  l.in_proj = w.Matrix(dtype, c.in_proj_rows(), c.d_model);
  l.conv_weight = w.Vector(c.conv_channels() * c.d_conv, 0, 0.5f);
  l.conv_bias = w.Vector(c.conv_channels(), 0, 0.1f);
  if (one) {
    l.x_proj = w.Matrix(dtype, c.dt_rank + 2 * c.d_state, c.d_inner);
    l.dt_proj = w.Matrix(dtype, c.d_inner, c.dt_rank);
  } else {
    l.gated_norm_weight = w.Vector(c.d_inner, 1, 0.1f);
  }
  const int64_t heads = one ? c.d_inner : c.n_heads;
  l.dt_bias = w.Uniform(heads, -4, -1);
  l.a = w.Uniform(one ? c.d_inner * c.d_state : c.n_heads, -4, -0.5f);
  l.d = w.Vector(heads, 1, 0.2f);
  l.out_proj = w.Matrix(dtype, c.d_model, c.d_inner);
  return l;
}

inline Model MakeModel(const Shape& shape, uint64_t seed = 1) {
  RandomWeights w(seed);
  ModelWeights weights;
  weights.config = MakeConfig(shape);
  const ModelConfig& c = weights.config;
  weights.embedding = w.Matrix(shape.dtype, c.vocab_size, c.d_model);
  weights.lm_head = weights.embedding;
  weights.norm_f_weight = w.Vector(c.d_model, 1, 0.1f);
  for (int64_t l = 0; l < c.n_layer; ++l) weights.layers.push_back(MakeLayer(c, shape.dtype, w));
  weights.storage = w.storage();
  return Model(std::move(weights));
}

inline CompiledReduction Compile(const std::string& text, const Model& model) {
  return CompileReduction(ReductionSpec::Parse(text), model.facts()).impl().Compiled();
}

inline std::vector<int32_t> RandomIds(int64_t count, int64_t vocab, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<int32_t> ids(count);
  for (int32_t& id : ids) id = static_cast<int32_t>(random() % vocab);
  return ids;
}

}  // namespace pith::testing

#endif  // TESTS_MODEL_RANDOM_MODEL_H_
