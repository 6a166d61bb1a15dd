// A loaded model, ready to run: weights and what is derived from them once.
#ifndef PITH_MODEL_MODEL_H_
#define PITH_MODEL_MODEL_H_

#include <cstdint>
#include <span>
#include <vector>

#include "load/model_weights.h"
#include "model/facts.h"

namespace pith {

// Throws kInvalidArgument for an id outside the vocabulary.
void CheckTokenIds(const ModelConfig& config, std::span<const int32_t> ids);

// Const after construction and shared by threads.
class Model {
 public:
  explicit Model(ModelWeights weights);

  const ModelConfig& config() const { return weights_.config; }
  // What reductions know of it.
  const ModelFacts& facts() const { return facts_; }
  const ModelWeights& weights() const { return weights_; }
  const LayerWeights& layer(int64_t l) const { return weights_.layers[l]; }
  // A = −exp(A_log) as the scan reads it: Mamba-1 [d_state, d_inner], Mamba-2 [n_heads].
  const float* a(int64_t l) const { return a_[l].data(); }
  // Tells models of one shape apart: a checksum over norms, Δ, D and the
  // first rows of the projections of all layers.
  uint64_t fingerprint() const { return fingerprint_; }

 private:
  ModelWeights weights_;
  ModelFacts facts_;
  std::vector<std::vector<float>> a_;
  uint64_t fingerprint_ = 0;
};

}  // namespace pith

#endif  // PITH_MODEL_MODEL_H_
