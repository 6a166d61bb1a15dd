// One function for each kind of file that Convert writes.
#ifndef PITH_ENGINE_CONVERT_H_
#define PITH_ENGINE_CONVERT_H_

#include <filesystem>
#include <span>
#include <utility>

#include "core/dtype.h"
#include "load/quantised_tensors.h"
#include "pith/convert.h"

namespace pith {

// What is asked for: `threads` is a number of threads, not 0.
struct Conversion {
  std::filesystem::path model;
  std::filesystem::path tokenizer;  // empty: the model's own, if any
  std::filesystem::path output;
  ConvertOptions options;
  RunControl control;
};

ConvertReport ConvertToGguf(const Conversion& conversion);
std::span<const std::pair<const char*, DType>> GgufWeights();
// `output` is a directory, new or empty.
ConvertReport ConvertToSafetensors(const Conversion& conversion);
std::span<const std::pair<const char*, WeightsAs>> SafetensorsWeights();

}  // namespace pith

#endif  // PITH_ENGINE_CONVERT_H_
