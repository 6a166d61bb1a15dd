// Which tensors a model has: their names in each format, and their shapes.
#ifndef PITH_LOAD_WEIGHT_MAP_H_
#define PITH_LOAD_WEIGHT_MAP_H_

#include <cstdint>
#include <string>
#include <vector>

#include "load/model_config.h"

namespace pith {

enum class Slot : uint8_t {
  kEmbedding,
  kLmHead,
  kFinalNormWeight,
  kFinalNormBias,
  // One a layer.
  kNormWeight,
  kNormBias,
  kInProjWeight,
  kInProjBias,
  kConvWeight,
  kConvBias,
  kXProj,
  kDtProj,
  kDtBias,
  kALog,
  kD,
  kGatedNormWeight,
  kOutProjWeight,
  kOutProjBias,
};

// The slot's name in files of config.format; `layer` is ignored for slots outside of the layers.
std::string TensorName(const ModelConfig& config, Slot slot, int64_t layer);

// The slot's shape in a file; empty where a model of this config has no such tensor.
std::vector<int64_t> TensorShape(const ModelConfig& config, Slot slot);

}  // namespace pith

#endif  // PITH_LOAD_WEIGHT_MAP_H_
