// What GGUF calls the tensors of a model, and how it shapes them.
#ifndef PITH_LOAD_GGUF_NAMES_H_
#define PITH_LOAD_GGUF_NAMES_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "load/file_names.h"
#include "load/model_config.h"

namespace pith {

inline constexpr std::string_view kGgufFormat = "gguf";  // ModelConfig::format
inline constexpr std::string_view kGgufEmbedding = "token_embd.weight";
inline constexpr std::string_view kGgufHead = "output.weight";
// What divides the frequencies of the rotary embedding, [rotated / 2], in all layers.
inline constexpr std::string_view kGgufRopeFactors = "rope_freqs.weight";
// ε of FalconMamba's norms of B, C and Δ, which llama.cpp takes from the other norms. pith's own.
inline constexpr std::string_view kGgufMixerEpsilon = "ssm.dt_b_c_rms_epsilon";

enum class GgufRope : uint8_t { kNone, kHalf, kInterleaved };

// What llama.cpp's code of an architecture says and no key does.
struct GgufArchitecture {
  std::string_view name;  // general.architecture
  int64_t layers_a_block = 1;
  GgufRope rope = GgufRope::kNone;  // which numbers of a head turn together (ops/rope.h)
  bool rope_factors = false;        // it reads kGgufRopeFactors
  bool multipliers = false;         // Granite's
};

// Null for an architecture that pith does not know.
const GgufArchitecture* FindGgufArchitecture(std::string_view name);
// All of them, for a message.
std::string GgufArchitectureNames();
// Of a model, whatever files it is from. Throws kUnsupported where llama.cpp has none for it.
const GgufArchitecture& GgufArchitectureOf(const ModelConfig& config);

// Where a GGUF file keeps a tensor that has this name elsewhere in pith: of
// "backbone.layers.3.mixer.in_proj.weight" in Mamba "blk.3.ssm_in.weight". Shapes have the
// outermost size first and no sizes of 1 before it. A name that no GGUF tensor has stays as it is.
FileTensor GgufTensorOf(const ModelConfig& config, std::string_view name,
                        const std::vector<int64_t>& shape);

}  // namespace pith

#endif  // PITH_LOAD_GGUF_NAMES_H_
