// No key of a published family passes unnoticed. Each config.json in tests/load/data/blocks is what
// transformers 5.24's class writes with all of its defaults, every key with its value
// (tools/golden/transformers_configs.py), so that both tables here are known from transformers:
//   1. One key after the other gets another value. Then the model differs, or an error says so; or
//      the key is listed here as one that transformers' forward of the type does not read.
//      Where the defaults hide an option behind another one, the test turns that one on (kShown).
//   2. A table of pairs that transformers' class takes for the same: keys by another name, null,
//      absent, old names of layers.
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/file.h"
#include "core/json.h"
#include "load/model_config.h"

namespace pith {
namespace {

const char* const kTypes[] = {"llama", "qwen2", "qwen3",     "granite",    "granitemoehybrid",
                              "bamba", "jamba", "falcon_h1", "nemotron_h", "zamba2"};

// Of the base class, or of training, generation and other tasks: no forward reads these.
const std::set<std::string> kNeverRead = {"_name_or_path",
                                          "architectures",
                                          "attention_dropout",
                                          "bos_token_id",
                                          "chunk_size_feed_forward",
                                          "dtype",
                                          "hidden_dropout",
                                          "id2label",
                                          "initializer_range",
                                          "label2id",
                                          "max_position_embeddings",
                                          "num_logits_to_keep",
                                          "output_attentions",
                                          "output_hidden_states",
                                          "output_router_logits",
                                          "pad_token_id",
                                          "pretraining_tp",
                                          "problem_type",
                                          "rescale_prenorm_residual",
                                          "residual_in_fp32",
                                          "return_dict",
                                          "router_aux_loss_coef",
                                          "time_step_floor",
                                          "time_step_max",
                                          "transformers_version",
                                          "use_associative_scan",
                                          "use_cache",
                                          "use_mamba_kernels",
                                          "use_mambapy",
                                          "use_mem_eff_path",
                                          "z_loss_coefficient"};

// By type, what its forward does not read either.
const std::map<std::string, std::set<std::string>> kNotRead = {
    // Its layer_types say which blocks have a window.
    {"qwen2", {"max_window_layers"}},
    {"qwen3", {"max_window_layers"}},
    {"nemotron_h",
     {"attention_bias", "expand", "mamba_proj_bias", "mamba_ssm_cache_dtype",
      "moe_shared_expert_overlap", "mtp_layers_block_type", "n_shared_experts",
      "num_nextn_predict_layers", "sliding_window", "time_step_limit"}},
    {"zamba2", {"kv_channels", "num_query_groups", "use_conv_bias"}}};

// What makes every other option show.
const std::map<std::string, const char*> kShown = {
    {"qwen2", R"({"use_sliding_window": true, "layer_types/5": "sliding_attention",
                  "sliding_window": 100})"},
    {"qwen3", R"({"use_sliding_window": true, "layer_types/5": "sliding_attention",
                  "sliding_window": 100})"},
    {"granitemoehybrid",
     R"({"layer_types/5": "full_attention", "position_embedding_type": "rope"})"},
    {"bamba", R"({"attn_layer_indices": [9, 18, 27]})"},
    {"falcon_h1", R"({"mamba_d_ssm": null, "mamba_d_head": "auto", "mamba_rms_norm": true})"},
    {"zamba2", R"({"use_mem_rope": true})"}};

Json Saved(const std::string& type) {
  const std::filesystem::path path =
      std::filesystem::path(PITH_SOURCE_DIR) / "tests/load/data/blocks" / (type + "-5.24.0.json");
  return ParseJson(ReadFile(path), path.string());
}

// "key/5" stands for the item 5 of a list; the value "ABSENT" takes the key out.
Json Patched(Json json, const char* patch) {
  const Json changes = ParseJson(patch, "patch");
  for (const auto& [path, value] : changes.items()) {
    const size_t slash = path.find('/');
    if (slash != path.npos) {
      json[path.substr(0, slash)][std::stoul(path.substr(slash + 1))] = value;
    } else if (value == "ABSENT") {
      json.erase(path);
    } else {
      json[path] = value;
    }
  }
  return json;
}

ModelConfig Parse(const Json& json) { return ParseModelConfig(json.dump(), "config.json"); }

std::vector<Json> OtherValues(const Json& value) {
  if (value.is_boolean()) return {!value.get<bool>()};
  if (value.is_number_integer()) return {2 * value.get<int64_t>() + 2};
  if (value.is_number()) return {2 * value.get<double>() + 0.5};
  if (value.is_string()) return {"surprise"};
  if (value.is_null()) return {3, true, "surprise"};
  if (value.is_object()) return {Json{{"surprise", 1}}};
  if (value.empty()) return {Json::array({1})};
  Json shorter = value;
  shorter.erase(shorter.size() - 1);
  return {shorter};
}

bool Notices(const Json& saved, const ModelConfig& model, const std::string& key) {
  for (const Json& value : OtherValues(saved[key])) {
    Json changed = saved;
    changed[key] = value;
    try {
      if (!(Parse(changed) == model)) return true;
    } catch (const Error& error) {
      EXPECT_TRUE(std::string(error.what()).starts_with("config.json: ")) << error.what();
      return true;
    }
  }
  return false;
}

class SavedKeys : public ::testing::TestWithParam<const char*> {};

TEST_P(SavedKeys, EachIsNoticedOrKnownToBeUnread) {
  const auto shown = kShown.find(GetParam());
  const Json defaults = Saved(GetParam());
  EXPECT_EQ(Parse(defaults).format, GetParam());
  const Json saved = shown == kShown.end() ? defaults : Patched(defaults, shown->second);
  const ModelConfig model = Parse(saved);
  ASSERT_EQ(model, Parse(saved));
  const auto own = kNotRead.find(GetParam());
  for (const auto& [key, value] : saved.items()) {
    const bool listed =
        kNeverRead.contains(key) || (own != kNotRead.end() && own->second.contains(key));
    EXPECT_EQ(Notices(saved, model, key), !listed) << key;
  }
}

struct Same {
  const char* type;
  const char* one;
  const char* other;
};

// The classes of transformers 5.24 make of both the same config, or one that differs in what no
// forward reads.
constexpr Same kSame[] = {
    // Null heads of keys are as many as those of queries, absent ones the class's default.
    {"llama", R"({"num_key_value_heads": null})", R"({"num_key_value_heads": 32})"},
    {"qwen2", R"({"num_key_value_heads": null, "num_attention_heads": 16})",
     R"({"num_key_value_heads": 16, "num_attention_heads": 16})"},
    {"bamba", R"({"num_key_value_heads": null})", R"({"num_key_value_heads": 32})"},
    {"falcon_h1", R"({"num_key_value_heads": null})", R"({"num_key_value_heads": 32})"},
    {"zamba2", R"({"num_key_value_heads": null})", R"({"num_key_value_heads": 32})"},
    {"qwen2", R"({"num_key_value_heads": "ABSENT"})", R"({"num_key_value_heads": 32})"},
    {"bamba", R"({"num_key_value_heads": "ABSENT"})", R"({"num_key_value_heads": 8})"},
    {"jamba", R"({"num_key_value_heads": "ABSENT"})", R"({"num_key_value_heads": 8})"},
    {"falcon_h1", R"({"num_key_value_heads": "ABSENT"})", R"({"num_key_value_heads": 8})"},
    {"nemotron_h", R"({"num_key_value_heads": "ABSENT"})", R"({"num_key_value_heads": 8})"},
    {"llama", R"({"head_dim": null})", R"({"head_dim": 128})"},
    // Names of before, which win where both are there.
    {"nemotron_h", R"({"mamba_n_groups": 4})", R"({"n_groups": 4})"},
    {"nemotron_h", R"({"mamba_d_conv": 3})", R"({"conv_kernel": 3})"},
    {"nemotron_h", R"({"mamba_dt_min": 0.01})", R"({"time_step_min": 0.01})"},
    {"nemotron_h", R"({"mamba_conv_bias": false})", R"({"use_conv_bias": false})"},
    {"nemotron_h", R"({"mamba_chunk_size": 64})", R"({"chunk_size": 64})"},
    {"nemotron_h", R"({"mamba_expand": 3, "mamba_dt_max": 0.5, "mamba_dt_init_floor": 0.5})", "{}"},
    {"nemotron_h", R"({"num_local_experts": 16})", R"({"n_routed_experts": 16})"},
    {"nemotron_h", R"({"layers_block_type": "ABSENT", "hybrid_override_pattern": "ME*-"})", "{}"},
    {"nemotron_h", R"({"layers_block_type": ["mamba", "moe", "attention", "mlp"]})", "{}"},
    {"jamba", R"({"num_local_experts": 4})", R"({"num_experts": 4})"},
    {"jamba", R"({"mamba_dt_rank": "auto"})", R"({"mamba_dt_rank": 256})"},
    {"granitemoehybrid", R"({"layer_types": "ABSENT"})", "{}"},
    {"granitemoehybrid", R"({"layer_types/3": "attention"})",
     R"({"layer_types/3": "full_attention"})"},
    {"granitemoehybrid", R"({"mamba_d_head": "auto"})", R"({"mamba_d_head": 64})"},
    {"zamba2", R"({"layers_block_type": "ABSENT"})", "{}"},
    {"zamba2", R"({"layers_block_type/0": "mamba"})", "{}"},
    {"zamba2", R"({"intermediate_size": null})", R"({"intermediate_size": 10240})"},
    {"zamba2", R"({"tie_word_embeddings": "ABSENT"})", R"({"tie_word_embeddings": true})"},
};

TEST(ConfigKeys, WhatTransformersTakesForTheSame) {
  for (const Same& same : kSame) {
    SCOPED_TRACE(::testing::Message() << same.type << ": " << same.one << " and " << same.other);
    const Json saved = Saved(same.type);
    EXPECT_EQ(Parse(Patched(saved, same.one)), Parse(Patched(saved, same.other)));
  }
  const Json zamba = Saved("zamba2");
  Json named = Patched(zamba, R"({"layers_block_type": "ABSENT"
})");
  named["layer_types"] = zamba["layers_block_type"];
  EXPECT_EQ(Parse(named), Parse(zamba));
}

INSTANTIATE_TEST_SUITE_P(Types, SavedKeys, ::testing::ValuesIn(kTypes),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace pith
