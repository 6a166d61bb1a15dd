// One sequence's memory: what every layer carries from the tokens it has read.
#ifndef PITH_MODEL_STATE_H_
#define PITH_MODEL_STATE_H_

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "load/model_config.h"

namespace pith {

// Sizes of one layer's state, in floats.
struct StateShape {
  int64_t conv = 0;  // [d_conv − 1, conv_channels], oldest input first
  int64_t ssm = 0;   // Mamba-1 [d_state, d_inner]; Mamba-2 [n_heads, d_state, head_dim]
  explicit StateShape(const ModelConfig& config);
};

// Copying it forks the sequence. Constant in size, however much was read.
class SequenceState {
 public:
  explicit SequenceState(const ModelConfig& config);  // the empty text: zeros

  float* conv(int64_t layer) { return values_.data() + layer * (shape_.conv + shape_.ssm); }
  float* ssm(int64_t layer) { return conv(layer) + shape_.conv; }
  std::vector<float>& values() { return values_; }
  const std::vector<float>& values() const { return values_; }

  int64_t tokens() const { return tokens_; }  // how many the prompt had, reduced or not
  void AddTokens(int64_t count) { tokens_ += count; }

  // A token that was sampled but not read yet; the next piece of text must start with it.
  std::optional<int32_t> pending;

 private:
  StateShape shape_;
  std::vector<float> values_;
  int64_t tokens_ = 0;
};

// docs/formats/state.md. The file carries the model's fingerprint and a checksum of everything.
// Save writes a temporary file and renames it.
void SaveState(const SequenceState& state, uint64_t model_fingerprint,
               const std::filesystem::path& path);
// Throws kCorruptData for a damaged file and kInvalidArgument for a state of another model.
SequenceState LoadState(const ModelConfig& config, uint64_t model_fingerprint,
                        const std::filesystem::path& path);

}  // namespace pith

#endif  // PITH_MODEL_STATE_H_
