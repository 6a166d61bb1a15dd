// Small models with random weights, in memory.
#ifndef TESTS_MODEL_RANDOM_MODEL_H_
#define TESTS_MODEL_RANDOM_MODEL_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <variant>
#include <vector>

#include "model/model.h"
#include "reduce/reduction.h"
#include "tests/device.h"

namespace pith::testing {

// Transformers and hybrids have layers of several kinds; what mixes rows comes first, so that there
// every policy finds what it reads.
enum class Kind : uint8_t { kMamba1, kMamba2, kTransformer, kHybrid, kShared };

inline constexpr Kind kKinds[] = {Kind::kMamba1, Kind::kMamba2, Kind::kTransformer, Kind::kHybrid,
                                  Kind::kShared};

inline std::string KindName(Kind kind) {
  constexpr const char* kNames[] = {"Mamba1", "Mamba2", "Transformer", "Hybrid", "Shared"};
  return kNames[static_cast<size_t>(kind)];
}

struct Shape {
  Kind kind = Kind::kMamba2;
  int64_t n_layer = 4;
  int64_t n_groups = 1;
  int64_t d_conv = 4;
  DType dtype = DType::kF32;
  int64_t vocab_size = 97;
};

// Layer `l` of a Transformer: attention that rotates; that sees a window and rotates a half of
// each head; that knows no positions; then an MLP.
inline LayerConfig TransformerLayer(int64_t l) {
  if (l % 4 == 3) return MlpConfig{.d_hidden = 80};
  AttentionConfig c{.n_heads = 6, .n_kv_heads = l % 4 == 1 ? 1 : 3, .head_dim = 16, .scale = 0.25F};
  c.qkv_bias = c.qk_norm = l % 4 == 0;
  if (l % 4 == 1) c.window = 23;
  if (l % 4 == 0) c.rope = {1, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003};
  if (l % 4 == 1) c.rope = {1, 0.1, 0.01, 0.001};
  return c;
}

inline ExpertsConfig MixtureOfExperts() {
  return {.expert = {.d_hidden = 24, .activation = MlpActivation::kReluSquared, .gated = false},
          .n_experts = 6,
          .chosen = 2,
          .router = ExpertRouter::kSigmoid,
          .normalise = true,
          .shared = {.d_hidden = 40}};
}

inline LayerConfig MakeMambaLayer(const Shape& shape) {
  MambaConfig common;
  common.d_inner = 96;
  common.d_conv = shape.d_conv;
  if (shape.kind == Kind::kMamba1) {
    Mamba1Config c{common};
    c.d_state = 16;
    c.dt_rank = 3;
    return c;
  }
  Mamba2Config c{common};
  c.d_state = 24;
  c.n_heads = 6;
  c.head_dim = 16;
  c.n_groups = shape.n_groups;
  c.chunk_size = 256;
  c.gated_norm = true;
  c.gated_norm_group = c.d_inner / shape.n_groups;
  return c;
}

// A layer with the state, heads and taps of published Mamba-2 models, as whole mixers want them.
inline Mamba2Config WholeMixer(int64_t n_heads) {
  Mamba2Config c;
  c.n_heads = n_heads;
  c.head_dim = 64;
  c.d_inner = n_heads * c.head_dim;
  c.d_state = 128;
  c.d_conv = 4;
  c.n_groups = 1;
  c.chunk_size = 256;
  c.gated_norm = true;
  c.gated_norm_group = c.d_inner;
  return c;
}

// Layer `l` of a hybrid: Mamba-2, attention, both side by side with Falcon-H1's factors, experts.
inline LayerConfig HybridLayer(const Shape& shape, int64_t l) {
  if (l % 4 == 1) return TransformerLayer(2);
  if (l % 4 == 3) return MixtureOfExperts();
  LayerConfig mamba = MakeMambaLayer(shape);
  if (l % 4 == 0) return mamba;
  ParallelConfig both{.mamba = std::get<Mamba2Config>(mamba),
                      .attention = std::get<AttentionConfig>(TransformerLayer(0)),
                      .mamba_scale = 0.8F,
                      .attention_scale = 1.2F};
  both.mamba.in_scale = 0.9F;
  both.mamba.out_scales = {1.1F, 0.8F, 0.9F, 1.2F, 0.7F};
  return both;
}

// Layer `l` of a model as Zamba2's: Mamba-2, then three behind two shared blocks in turn, with
// adapters everywhere.
inline LayerConfig SharedLayer(const Shape& shape, int64_t l) {
  LayerConfig mamba = MakeMambaLayer(shape);
  if (l % 4 == 0) return mamba;
  SharedBlockConfig c{.mamba = std::get<Mamba2Config>(mamba),
                      .attention = {.n_heads = 6, .n_kv_heads = 6, .head_dim = 16, .scale = 0.35F},
                      .mlp = {.d_hidden = 56, .activation = MlpActivation::kGelu},
                      .block = (l - 1) % 2,
                      .use = l - 1,
                      .adapter_rank = 7,
                      .attention_adapters = true};
  c.attention.rope = {1, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003};
  return c;
}

inline LayerConfig MakeLayerConfig(const Shape& shape, int64_t l = 0) {
  if (shape.kind == Kind::kTransformer) return TransformerLayer(l);
  if (shape.kind == Kind::kShared) return SharedLayer(shape, l);
  return shape.kind == Kind::kHybrid ? HybridLayer(shape, l) : MakeMambaLayer(shape);
}

inline ModelConfig MakeConfig(const Shape& shape) {
  ModelConfig c;
  c.format = "mamba_ssm";
  c.d_model = 48;
  c.vocab_size = shape.vocab_size;
  c.tie_embeddings = true;
  for (int64_t l = 0; l < shape.n_layer; ++l) c.layers.push_back(MakeLayerConfig(shape, l));
  if (shape.kind == Kind::kTransformer) {  // Granite's
    c.embedding_scale = 1.5F;
    c.residual_scale = 0.6F;
    c.logits_scale = 0.3F;
  }
  return c;
}

// Draws whatever tensor a model asks for: matrices with entries ~ N(0, 1/cols), as trained ones
// roughly have, and vectors in the ranges that trained ones have, by their names.
class RandomTensors : public TensorSource {
 public:
  RandomTensors(uint64_t seed, DType dtype) : random_(seed), dtype_(dtype) {}

  StoredMatrix Matrix(std::string_view /*name*/, int64_t rows, int64_t cols) override {
    const std::vector<float> values =
        Normal(rows * cols, 0, 1 / std::sqrt(static_cast<float>(cols)));
    storage_->emplace_back(values.size() * SizeOf(dtype_));
    std::byte* data = storage_->back().data();
    for (size_t i = 0; i < values.size(); ++i) {
      if (dtype_ == DType::kF32) reinterpret_cast<float*>(data)[i] = values[i];
      if (dtype_ == DType::kBF16) reinterpret_cast<BF16*>(data)[i] = ToBF16(values[i]);
    }
    return {dtype_, data, rows, cols};
  }
  std::vector<float> Vector(std::string_view name, const std::vector<int64_t>& shape) override {
    int64_t size = 1;
    for (const int64_t n : shape) size *= n;
    if (name.ends_with("conv1d.weight")) return Normal(size, 0, 0.5f);
    if (name.ends_with("dt_bias") || name.ends_with("dt_proj.bias")) return Uniform(size, -4, -1);
    if (name.ends_with("bias")) return Normal(size, 0, 0.1f);
    if (name.ends_with("A_log")) return Uniform(size, std::log(0.5f), std::log(4.0f));
    return Normal(size, 1, name.ends_with("D") ? 0.2f : 0.1f);
  }
  void Drop(const StoredMatrix& /*matrix*/) override {}
  std::shared_ptr<const void> storage() const override { return storage_; }

 private:
  std::vector<float> Normal(int64_t size, float mean, float spread) {
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

  std::mt19937_64 random_;
  DType dtype_;
  std::shared_ptr<std::vector<std::vector<std::byte>>> storage_ =
      std::make_shared<std::vector<std::vector<std::byte>>>();
};

inline Model MakeModel(const Shape& shape, uint64_t seed = 1, Device device = DeviceUnderTest()) {
  RandomTensors tensors(seed, shape.dtype);
  return Model(ExecOn(device), MakeConfig(shape), tensors);
}

inline CompiledReduction Compile(const std::string& text, const Model& model) {
  return CompileReduction(ReductionSpec::Parse(text), model.facts()).impl().Compiled();
}

// Rows of a backend's memory, one after the other.
inline std::vector<float> OnHost(const Exec& exec, MatView<const float> rows) {
  std::vector<float> values(rows.rows * rows.cols);
  DownloadRows(exec, rows, {values.data(), rows.rows, rows.cols});
  return values;
}

// ‖a − b‖ / ‖b‖.
inline double RelativeError(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  double error = 0;
  double norm = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    error += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
    norm += double{b[i]} * b[i];
  }
  return std::sqrt(error / norm);
}

// All that a slot holds: the numbers of fixed count, then for each layer that grows its positions,
// made small beside the others so that errors relative to all of them still show, keys and values.
inline std::vector<float> StateOf(const StatePool& pool, int32_t slot) {
  std::vector<float> state = pool.Download(slot);
  for (const KvRows& kv : pool.DownloadKv(slot)) {
    for (const int32_t position : kv.positions) {
      state.push_back(1e-4F * static_cast<float>(position));
    }
    state.insert(state.end(), kv.keys.begin(), kv.keys.end());
    state.insert(state.end(), kv.values.begin(), kv.values.end());
  }
  return state;
}

// A pool that holds just these sequences.
struct Slots {
  Slots(const Model& model, const Exec& exec, size_t count)
      : pool(model, exec, static_cast<int64_t>(count)), sequences(count) {
    for (Sequence& sequence : sequences) sequence.slot = pool.Take();
  }
  std::vector<float> State(size_t i) const { return StateOf(pool, sequences[i].slot); }

  StatePool pool;
  std::vector<Sequence> sequences;
};

inline std::vector<int32_t> RandomIds(int64_t count, int64_t vocab, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<int32_t> ids(count);
  for (int32_t& id : ids) id = static_cast<int32_t>(random() % vocab);
  return ids;
}

}  // namespace pith::testing

#endif  // TESTS_MODEL_RANDOM_MODEL_H_
