#include "load/quantised_files.h"

#include "core/dtype.h"
#include "core/error.h"

namespace pith {
namespace {

constexpr const char* kKey = "quantization_config";
constexpr std::string_view kMethod = "pith";

}  // namespace

OrderedJson QuantisationConfig(std::string_view weights) {
  return {{"quant_method", kMethod}, {"version", kQuantisedVersion}, {"weights", weights}};
}

bool TakeQuantisationConfig(Json& config, const std::string& source) {
  if (!config.is_object() || !config.contains(kKey) || !config[kKey].is_object()) return false;
  const JsonReader reader(config[kKey], source, StrCat(kKey, "."));
  if (reader.String("quant_method", "") != kMethod) return false;
  const int64_t version = reader.Int("version", 1, 1 << 20);
  Require(version == kQuantisedVersion, ErrorCode::kUnsupported, source, ": ", kKey,
          ".version: got ", version, ", expected ", kQuantisedVersion);
  config.erase(kKey);
  return true;
}

void TypeQuantisedTensors(TensorTable& tensors) {
  constexpr BlockShape kBlock = BlockOf(DType::kQ4_0);
  for (auto& [name, tensor] : tensors) {
    if (tensor.shape.size() != 2 || !name.ends_with(".weight")) continue;
    if (tensor.dtype_name == "I8") tensor.dtype = DType::kI8;
    if (tensor.dtype_name == "U8" && tensor.shape[1] % kBlock.bytes == 0) {
      tensor.dtype = DType::kQ4_0;
      tensor.shape[1] = tensor.shape[1] / kBlock.bytes * kBlock.values;
    }
  }
}

}  // namespace pith
