// What the config.json files of transformers' Transformers and hybrids have in common.
#ifndef PITH_LOAD_CONFIG_BLOCKS_H_
#define PITH_LOAD_CONFIG_BLOCKS_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "load/config_fields.h"
#include "load/model_config.h"

namespace pith {

inline constexpr int64_t kMaxLayers = int64_t{1} << 14;

// hidden_size, vocab_size, the norms' epsilon, tie_word_embeddings (false where absent) and
// eos_token_id.
void ReadTop(ConfigFields& top, const char* epsilon, float default_epsilon, ModelConfig& config);

// num_attention_heads, num_key_value_heads and head_dim, by which scores are scaled. The last two
// are `defaults` where absent; 0 stands for as many as the first, which null always means, and for
// hidden_size / heads.
struct HeadDefaults {
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
};
AttentionConfig ReadHeads(ConfigFields& top, int64_t d_model, const HeadDefaults& defaults = {});

// The keys of Mamba-2 that start with "mamba_", and time_step_limit; all but the norm behind the
// gate.
Mamba2Config ReadMamba2(ConfigFields& top, int64_t d_inner);

// The norm behind the gate: one mean square a group.
void SetGatedNorm(float eps, Mamba2Config& mixer);

// Throws unless the key is absent or says SiLU.
void RequireSilu(ConfigFields& top, const char* key);

// Granite's multipliers.
void ReadMultipliers(ConfigFields& top, ModelConfig& config, AttentionConfig& attention);

// A finite number above 0.
float PositiveNumber(ConfigFields& top, const char* key, float fallback);
// A list of so many finite numbers above 0; all 1 where it is absent.
std::vector<float> PositiveNumbers(ConfigFields& top, const char* key, size_t count);

// The names of a model's layers by `key`; empty where it is absent.
std::vector<std::string> LayerNames(ConfigFields& top, const char* key);

// Keys that no forward of these models reads: dropout, initialisation, training, caches.
std::span<const std::string_view> BlocksWithoutEffect();

// The end of every reader: what the base class may say, and no key left over. `own_code`: published
// files name code of their own (auto_map), for versions of transformers that did not know the
// model.
void FinishConfig(ConfigFields& top, std::span<const std::string_view> without_effect,
                  bool own_code = false);

}  // namespace pith

#endif  // PITH_LOAD_CONFIG_BLOCKS_H_
