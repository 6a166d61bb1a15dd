// Convert: which kind of file.
#include "engine/convert.h"

#include <algorithm>
#include <thread>

#include "core/error.h"

namespace pith {

std::vector<std::string> ConvertWeights(const std::string& to) {
  std::vector<std::string> names;
  if (to == "safetensors") {
    for (const auto& [name, as] : SafetensorsWeights()) names.emplace_back(name);
    return names;
  }
  Require(to == "gguf", ErrorCode::kInvalidArgument, "to: got '", to,
          "', expected gguf or safetensors");
  for (const auto& [name, dtype] : GgufWeights()) names.emplace_back(name);
  return names;
}

ConvertReport Convert(const std::filesystem::path& model, const std::filesystem::path& tokenizer,
                      const std::filesystem::path& output, const ConvertOptions& options,
                      const RunControl& control) {
  const std::vector<std::string> known = ConvertWeights(options.to);
  std::string names = "stored";
  for (const std::string& name : known) names += ", " + name;
  Require(options.weights == "stored" || std::ranges::find(known, options.weights) != known.end(),
          ErrorCode::kInvalidArgument, "weights: got '", options.weights, "', expected one of ",
          names);
  Conversion conversion{model, tokenizer, output, options, control};
  if (options.threads == 0) {
    conversion.options.threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  }
  return options.to == "gguf" ? ConvertToGguf(conversion) : ConvertToSafetensors(conversion);
}

}  // namespace pith
