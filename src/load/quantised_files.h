// Quantised matrices in safetensors files that pith wrote (docs/formats/quantised.md).
#ifndef PITH_LOAD_QUANTISED_FILES_H_
#define PITH_LOAD_QUANTISED_FILES_H_

#include <string>
#include <string_view>

#include "core/json.h"
#include "load/stored_tensor.h"

namespace pith {

inline constexpr std::string_view kScaleSuffix = "_scale";
inline constexpr int kQuantisedVersion = 1;

// What pith writes into config.json as "quantization_config".
OrderedJson QuantisationConfig(std::string_view weights);

// Takes pith's "quantization_config" out of a config; true where it was there. Another one stays,
// for the config's reader to refuse. Throws kUnsupported for a version that is not known.
bool TakeQuantisationConfig(Json& config, const std::string& source);

// Gives matrices of bytes their type: I8 [rows, cols] becomes kI8, whose scales are the tensor NAME
// with "_scale" behind it; U8 [rows, 18 n] becomes kQ4_0 of shape [rows, 32 n].
void TypeQuantisedTensors(TensorTable& tensors);

}  // namespace pith

#endif  // PITH_LOAD_QUANTISED_FILES_H_
