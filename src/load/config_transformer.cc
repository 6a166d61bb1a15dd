// config.json of transformers' LlamaForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM and
// GraniteForCausalLM: blocks of attention and a gated MLP, each of them two layers of pith. Names,
// defaults and meaning are those of transformers 5.24's Config classes and of their forward.
#include <string>
#include <vector>

#include "core/error.h"
#include "load/config_blocks.h"
#include "load/config_fields.h"
#include "load/config_rope.h"

namespace pith {
namespace {

// How many last positions the attention of each block sees; 0: all. Older files of qwen2 give the
// first block with a window, newer ones a list.
std::vector<int64_t> Windows(ConfigFields& top, int64_t blocks) {
  std::vector<int64_t> windows(static_cast<size_t>(blocks), 0);
  const bool used = top.Bool("use_sliding_window", false);
  const int64_t window = top.Size("sliding_window", 4096, int64_t{1} << 31);
  const Json* first = top.Find("max_window_layers");
  const std::vector<std::string> names = LayerNames(top, "layer_types");
  if (!names.empty()) {
    if (std::ssize(names) != blocks) top.Fail("layer_types", StrCat("a list of ", blocks));
    for (size_t b = 0; b < names.size(); ++b) {
      const bool slides = names[b] == "sliding_attention";
      if (!slides && names[b] != "full_attention") {
        top.Unsupported("layer_types", "full_attention and sliding_attention");
      }
      if (slides && used) windows[b] = window;
    }
    return windows;
  }
  if (!used) return windows;
  if (first != nullptr && !first->is_number_integer()) top.Fail("max_window_layers", "an integer");
  const int64_t from = first == nullptr ? 28 : first->get<int64_t>();
  for (int64_t b = 0; b < blocks; ++b) {
    if (b >= from) windows[static_cast<size_t>(b)] = window;
  }
  return windows;
}

}  // namespace

bool ReadTransformer(ConfigFields& top, ModelConfig& config) {
  const bool granite = config.format == "granite";
  const bool qwen2 = config.format == "qwen2", qwen3 = config.format == "qwen3";
  const bool qwen = qwen2 || qwen3;
  if (!granite && !qwen && config.format != "llama") return false;
  ReadTop(top, "rms_norm_eps", 1e-6F, config);
  const int64_t blocks = top.Size("num_hidden_layers", kMaxLayers);
  AttentionConfig attention =
      ReadHeads(top, config.d_model, {.kv_heads = qwen ? 32 : 0, .head_dim = qwen3 ? 128 : 0});
  // Qwen2's projections have biases whatever the file says, and no bias behind the heads.
  attention.qkv_bias = qwen2 || top.Bool("attention_bias", false);
  attention.out_bias = !qwen2 && attention.qkv_bias;
  attention.qk_norm = qwen3;
  ReadRope(top, 1, top.Size("max_position_embeddings", qwen ? 32768 : 2048, int64_t{1} << 31),
           attention);
  if (granite) ReadMultipliers(top, config, attention);
  MlpConfig mlp;
  mlp.d_hidden = top.Size("intermediate_size");
  mlp.bias = !qwen && top.Bool("mlp_bias", false);
  RequireSilu(top, "hidden_act");
  const std::vector<int64_t> windows =
      qwen ? Windows(top, blocks) : std::vector<int64_t>(static_cast<size_t>(blocks), 0);
  for (const int64_t window : windows) {
    attention.window = window;
    config.layers.emplace_back(attention);
    config.layers.emplace_back(mlp);
  }
  FinishConfig(top, {});
  return true;
}

}  // namespace pith
