#include "load/published_shapes.h"

#include <algorithm>
#include <array>

#include "core/error.h"
#include "core/nearest.h"

namespace pith {
namespace {

struct StateSpacesSize {
  std::string_view mamba;
  std::string_view mamba2;
  int64_t d_model;
  int64_t n_layer;
};

// The five sizes of either family have the same width and depth.
constexpr StateSpacesSize kSizes[] = {{"mamba-130m", "mamba2-130m", 768, 24},
                                      {"mamba-370m", "mamba2-370m", 1024, 48},
                                      {"mamba-790m", "mamba2-780m", 1536, 48},
                                      {"mamba-1.4b", "mamba2-1.3b", 2048, 48},
                                      {"mamba-2.8b", "mamba2-2.7b", 2560, 64}};

// Granite-4.0-H without experts: ibm-granite/granite-4.0-h-350m and -1b, written from memory; no
// published config was at hand.
struct GraniteSize {
  std::string_view name;
  int64_t d_model;
  int64_t n_layer;
  int64_t d_hidden;
  std::array<int64_t, 4> attention;  // its blocks with attention
};
constexpr GraniteSize kGranites[] = {{"granite-4.0-h-350m", 768, 32, 2048, {10, 13, 17, 27}},
                                     {"granite-4.0-h-1b", 1536, 40, 4096, {5, 15, 25, 35}}};

// tiiuae/falcon-mamba-7b.
constexpr const char* kFalcon =
    R"({"model_type": "falcon_mamba", "hidden_size": 4096, "intermediate_size": 8192,
        "num_hidden_layers": 64, "vocab_size": 65024, "state_size": 16, "conv_kernel": 4,
        "time_step_rank": 256, "layer_norm_epsilon": 1e-05, "mixer_rms_eps": 1e-06,
        "use_bias": false, "use_conv_bias": true, "tie_word_embeddings": false,
        "eos_token_id": 11})";

// mistralai/Mamba-Codestral-7B-v0.1.
constexpr const char* kCodestral =
    R"({"model_type": "mamba2", "hidden_size": 4096, "num_hidden_layers": 64, "vocab_size": 32768,
        "num_heads": 128, "head_dim": 64, "n_groups": 8, "state_size": 128, "expand": 2,
        "conv_kernel": 4, "chunk_size": 256, "layer_norm_epsilon": 1e-05, "use_bias": false,
        "use_conv_bias": true, "tie_word_embeddings": false, "eos_token_id": 0,
        "transformers_version": "4.44.0"})";

// As state-spaces publishes them: the vocabulary of 50,277 is rounded up.
std::string StateSpacesConfig(const StateSpacesSize& size, bool mamba2) {
  return StrCat(R"({"d_model": )", size.d_model, R"(, "n_layer": )", size.n_layer,
                R"(, "vocab_size": 50277, "ssm_cfg": )", mamba2 ? R"({"layer": "Mamba2"})" : "{}",
                R"(, "rms_norm": true, "tie_embeddings": true, "pad_vocab_size_multiple": )",
                mamba2 ? 16 : 8, "}");
}

// Multipliers are 1: they change no work.
std::string GraniteConfig(const GraniteSize& size) {
  std::string layers;
  for (int64_t l = 0; l < size.n_layer; ++l) {
    const bool attends = std::ranges::find(size.attention, l) != size.attention.end();
    layers += StrCat(l == 0 ? "" : ", ", attends ? R"("attention")" : R"("mamba")");
  }
  return StrCat(R"({"model_type": "granitemoehybrid", "vocab_size": 100352, "hidden_size": )",
                size.d_model, R"(, "num_hidden_layers": )", size.n_layer,
                R"(, "shared_intermediate_size": )", size.d_hidden,
                R"(, "num_attention_heads": 12, "num_key_value_heads": 4, "mamba_n_heads": )",
                size.d_model / 32,
                R"(, "mamba_d_head": 64, "mamba_d_state": 128, "mamba_expand": 2,
                "mamba_n_groups": 1, "num_local_experts": 0, "rms_norm_eps": 1e-05,
                "position_embedding_type": "nope", "tie_word_embeddings": true, "layer_types": [)",
                layers, "]}");
}

}  // namespace

std::vector<std::string> PublishedShapeNames() {
  std::vector<std::string> names;
  for (const StateSpacesSize& size : kSizes) names.emplace_back(size.mamba);
  for (const StateSpacesSize& size : kSizes) names.emplace_back(size.mamba2);
  for (const GraniteSize& size : kGranites) names.emplace_back(size.name);
  names.insert(names.end(), {"falcon-mamba-7b", "codestral-7b"});
  return names;
}

ModelConfig PublishedShape(std::string_view name) {
  const std::string source = StrCat("shape ", name);
  for (const StateSpacesSize& size : kSizes) {
    if (name != size.mamba && name != size.mamba2) continue;
    return ParseModelConfig(StateSpacesConfig(size, name == size.mamba2), source);
  }
  for (const GraniteSize& size : kGranites) {
    if (name == size.name) return ParseModelConfig(GraniteConfig(size), source);
  }
  if (name == "falcon-mamba-7b") return ParseModelConfig(kFalcon, source);
  if (name == "codestral-7b") return ParseModelConfig(kCodestral, source);
  const std::vector<std::string> names = PublishedShapeNames();
  std::string listed;
  for (const std::string& known : names) listed += (listed.empty() ? "" : ", ") + known;
  Throw(ErrorCode::kInvalidArgument, "shape: got '", Excerpt(name), "', expected one of ", listed,
        DidYouMean(name, names));
}

}  // namespace pith
