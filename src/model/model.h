// A loaded model, ready to run: its layers, and what stands around them.
#ifndef PITH_MODEL_MODEL_H_
#define PITH_MODEL_MODEL_H_

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "load/model_config.h"
#include "load/quantised_tensors.h"
#include "load/tensor_source.h"
#include "model/layer.h"
#include "model/state_pool.h"
#include "reduce/facts.h"

namespace pith {

// Throws kInvalidArgument for an id outside the vocabulary.
void CheckTokenIds(const ModelConfig& config, std::span<const int32_t> ids);

class Model;
// Throws kUnsupported for a text whose positions a layer of the model reads and cannot hold.
void CheckLength(const Model& model, int64_t tokens);

// Const after construction and shared by threads. Runs on the backend that it was made for.
class Model {
 public:
  Model(const Exec& exec, ModelConfig config, TensorSource& tensors);

  const ModelConfig& config() const { return config_; }
  int64_t n_layer() const { return static_cast<int64_t>(layers_.size()); }
  const Layer& layer(int64_t l) const { return *layers_[l]; }
  // Another one for every model of this process, for what outlives a model and must know it again.
  int64_t serial() const { return serial_; }
  const StateLayout& state_layout() const { return state_layout_; }
  // Whether all layers' steps may be repeated (Layer::repeats_steps).
  bool repeats_steps() const { return repeats_steps_; }
  const ModelFacts& facts() const { return facts_; }
  // Tells models of one shape apart: a checksum over norms, Δ, D and the first rows of the
  // projections of all layers.
  uint64_t fingerprint() const { return fingerprint_; }

  const WeightBytes& weight_bytes() const { return weight_bytes_; }
  // Of the weights that a step reads: all but an embedding that is not the head too.
  int64_t step_weight_bytes() const;
  DType weight_dtype() const { return head_.view().dtype; }

  // Rows of the embedding [ids.size(), d_model].
  void Embed(const Exec& exec, std::span<const int32_t> ids, MatView<float> out) const;
  // The norm before the head, in place: rows [n, d_model].
  void FinalNorm(const Exec& exec, MatView<float> rows) const;
  // What makes logits of normalised rows: [vocab, d_model].
  const WeightView& head() const { return head_.view(); }
  // Logits of a few normalised rows, [n, d_model] → [n, vocab], whose cost is reading the head
  // once.
  void StepLogits(const Exec& exec, MatView<const float> normed, MatView<float> logits) const;

 private:
  ModelConfig config_;
  std::shared_ptr<const void> storage_;  // what weights that were left in the files point into
  std::unique_ptr<RowNorm> final_norm_;
  Weight embedding_;  // [vocab_size, d_model]
  Weight head_;       // the embedding itself where they are tied
  std::vector<std::unique_ptr<Layer>> layers_;
  StateLayout state_layout_;
  ModelFacts facts_;
  uint64_t fingerprint_ = 0;
  int64_t serial_ = 0;
  bool repeats_steps_ = true;
  WeightBytes weight_bytes_;
};

struct LoadedModel {
  Model model;
  int64_t parameters = 0;
  std::map<std::string, int64_t> stored_types;  // as the files hold them, with counts of tensors
  std::vector<std::string> warnings;  // one a tensor that holds NaN or infinity, with their number
};

// Reads config.json and the weights beside it, or a GGUF file, and prepares them for exec's
// backend, tensor by tensor, giving back what was read: the most that is resident is little more
// than the weights as they stay. Throws as Checkpoint and QuantisedTensors do.
LoadedModel LoadModel(const std::filesystem::path& path, const Exec& exec,
                      bool verify_finite = true, WeightsAs as = WeightsAs::kStored);

// A model with random weights that are stored as `dtype`, for measuring (load/drawn_tensors.h).
LoadedModel DrawModel(const ModelConfig& config, const Exec& exec, DType dtype,
                      WeightsAs as = WeightsAs::kStored);

}  // namespace pith

#endif  // PITH_MODEL_MODEL_H_
