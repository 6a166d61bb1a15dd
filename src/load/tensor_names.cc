#include "load/tensor_names.h"

#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "core/error.h"

namespace pith {
namespace {

constexpr std::string_view kBackbone = "backbone.";
constexpr std::string_view kHead = "lm_head.";

// These never are names of a model's own modules, so they go wherever they stand.
constexpr std::array<std::string_view, 3> kWrappers = {"_orig_mod.", "_fsdp_wrapped_module.",
                                                       "_checkpoint_wrapped_module."};

std::string WithoutWrappers(std::string name) {
  for (const std::string_view wrapper : kWrappers) {
    for (size_t at = name.find(wrapper); at != name.npos; at = name.find(wrapper, at)) {
      if (at > 0 && name[at - 1] != '.') {
        ++at;
      } else {
        name.erase(at, wrapper.size());
      }
    }
  }
  while (name.starts_with("module.")) name.erase(0, 7);
  std::string_view inner = name;
  if (inner.starts_with("model.")) inner.remove_prefix(6);
  return std::string(inner.starts_with(kBackbone) || inner.starts_with(kHead) ? inner : name);
}

bool IsBuffer(std::string_view name, const StoredTensor& tensor) {
  constexpr std::array<std::string_view, 5> kWeights = {"weight", "bias", "A_log", "D", "dt_bias"};
  const std::string_view last = name.substr(name.rfind('.') + 1);  // all of it where no dot is
  return !tensor.dtype.has_value() && std::ranges::find(kWeights, last) == kWeights.end();
}

bool IsHeadless(const std::map<std::string, std::string>& names) {
  const bool backbone = std::ranges::any_of(
      names, [](const auto& item) { return item.second.starts_with(kBackbone); });
  return !backbone && std::ranges::any_of(names, [](const auto& item) {
    return item.second == "embeddings.weight" || item.second == "embedding.weight";
  });
}

}  // namespace

void NormalizeTensorNames(const ModelConfig& config, TensorTable& tensors) {
  std::erase_if(tensors, [](const auto& item) {
    return IsBuffer(item.first, item.second) || item.first.ends_with(".rotary_emb.inv_freq");
  });
  std::map<std::string, std::string> names;  // as the file has it -> as it shall be
  for (const auto& [name, tensor] : tensors) names.emplace(name, WithoutWrappers(name));
  const bool headless = IsHeadless(names);
  TensorTable result;
  for (auto& [old_name, name] : names) {
    if (headless && !name.starts_with(kHead)) name.insert(0, kBackbone);
    if (config.format != "mamba_ssm" && name == "backbone.embedding.weight") {
      name = "backbone.embeddings.weight";
    }
    StoredTensor& tensor = tensors.find(old_name)->second;
    const std::string file = tensor.file;
    const bool added = result.emplace(name, std::move(tensor)).second;
    Require(added, ErrorCode::kCorruptData, file, ": ", Quoted(old_name), ": a second tensor ",
            Quoted(name), " once the marks of training are left out");
  }
  tensors = std::move(result);
}

}  // namespace pith
