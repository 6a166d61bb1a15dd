// What a rotary embedding becomes in a GGUF file.
#ifndef PITH_ENGINE_GGUF_ROPE_H_
#define PITH_ENGINE_GGUF_ROPE_H_

#include <cstdint>
#include <string_view>
#include <vector>

#include "load/model_config.h"

namespace pith {

// Which row of a tensor goes where. Files of transformers pair the halves of a head's rotated rows;
// where llama.cpp pairs neighbours, those of queries and keys are put side by side.
class RowOrder {
 public:
  // `name`: as a TensorSource knows the tensor, in a model that may be from a GGUF file itself.
  RowOrder(const ModelConfig& config, std::string_view name);

  bool changes() const { return half_ > 0; }
  // The row of the source that becomes row r.
  int64_t From(int64_t r) const;

 private:
  int64_t head_dim_ = 0;
  int64_t half_ = 0;  // of the rows of a head that rotate; 0: rows stay where they are
};

// What the frequencies of a model's rotation are divided by, for each pair; empty where there is no
// rotation, or all would be 1.
std::vector<float> GgufRopeFactors(const ModelConfig& config);

}  // namespace pith

#endif  // PITH_ENGINE_GGUF_ROPE_H_
