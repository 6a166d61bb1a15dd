// What GGUF calls the tensors of a Mamba model, and how it shapes them.
#ifndef PITH_LOAD_GGUF_NAMES_H_
#define PITH_LOAD_GGUF_NAMES_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "load/model_config.h"

namespace pith {

inline constexpr std::string_view kGgufFormat = "gguf";  // ModelConfig::format
inline constexpr std::string_view kGgufEmbedding = "token_embd.weight";
inline constexpr std::string_view kGgufHead = "output.weight";
// ε of FalconMamba's norms of B, C and Δ, which llama.cpp takes from the other norms. pith's own.
inline constexpr std::string_view kGgufMixerEpsilon = "ssm.dt_b_c_rms_epsilon";

// Of a tensor by mamba_ssm's name, "backbone.layers.3.mixer.in_proj.weight": "blk.3.ssm_in.weight".
// A name that no GGUF tensor has stays as it is.
std::string GgufTensorName(std::string_view name);

// The tensor's shape in the file, the outermost size first and without sizes of 1 before it.
std::vector<int64_t> GgufTensorShape(const ModelConfig& config, std::string_view name,
                                     const std::vector<int64_t>& shape);

}  // namespace pith

#endif  // PITH_LOAD_GGUF_NAMES_H_
