// A checkpoint, ready to compute with: matrices where they lie in the mapped files, in the files'
// dtypes; vectors as f32.
#ifndef PITH_LOAD_MODEL_WEIGHTS_H_
#define PITH_LOAD_MODEL_WEIGHTS_H_

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/tensor.h"
#include "load/model_config.h"

namespace pith {

// What a model has none of is empty.
struct LayerWeights {
  std::vector<float> norm_weight;  // [d_model]
  std::vector<float> norm_bias;    // [d_model]; empty for RMSNorm
  WeightView in_proj;              // [in_proj_rows, d_model]
  std::vector<float> in_proj_bias;
  std::vector<float> conv_weight;        // [conv_channels, d_conv], oldest tap first
  std::vector<float> conv_bias;          // [conv_channels]
  WeightView x_proj;                     // Mamba-1: [dt_rank + 2 d_state, d_inner], rows dt, B, C
  WeightView dt_proj;                    // Mamba-1: [d_inner, dt_rank]
  std::vector<float> dt_bias;            // [d_inner] or [n_heads]
  std::vector<float> a;                  // -exp(A_log): [d_inner, d_state] or [n_heads]
  std::vector<float> d;                  // [d_inner], or [n_heads] (Mamba-2 without d_has_hdim)
  std::vector<float> gated_norm_weight;  // Mamba-2: [d_inner]
  WeightView out_proj;                   // [d_model, d_inner]
  std::vector<float> out_proj_bias;      // [d_model]
};

// Views stay valid while any copy of `storage` lives; they point into private mappings of the
// files, which nobody may truncate meanwhile.
struct ModelWeights {
  ModelConfig config;
  WeightView embedding;  // [vocab_size, d_model]
  WeightView lm_head;    // the embedding itself where they are tied
  std::vector<float> norm_f_weight;
  std::vector<float> norm_f_bias;  // empty for RMSNorm
  std::vector<LayerWeights> layers;
  std::vector<std::string> warnings;  // one a tensor that holds NaN or infinity, with their number
  int64_t resident_bytes_owned = 0;   // memory beside the mapped files
  std::shared_ptr<const void> storage;
};

struct LoadOptions {
  // Scans all weights for NaN and infinity, which reads the files once.
  bool verify_finite = true;
  int threads = 2;  // for the scan
};

// Reads config.json and the weights beside it. Every tensor must be there with the shape that the
// config gives, in F32, F16 or BF16 (mixed at will), and no other tensor. A tied model may store
// its head as well, as state-spaces' .bin files do, if it equals the embedding byte for byte:
// otherwise config and weights contradict each other and neither reading is safe to choose.
// Throws kNotFound, kIo, kCorruptData or kUnsupported with file, tensor, what it is and should be.
ModelWeights LoadModel(const std::filesystem::path& directory, const LoadOptions& options = {});

}  // namespace pith

#endif  // PITH_LOAD_MODEL_WEIGHTS_H_
