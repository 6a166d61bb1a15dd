// The lists are the union of what transformers 4.39 to 5.24 write with `use_diff=False` and of what
// their base class takes by name; docs/formats/config.md tells how they were made.
#include "load/config_base_class.h"

#include <charconv>
#include <string>
#include <string_view>

namespace pith {
namespace {

constexpr std::string_view kWithoutEffect[] = {
    // Where the file comes from, and precision: activations are always f32 here.
    "_commit_hash",
    "_name_or_path",
    "architectures",
    "dtype",
    "name_or_path",
    "tokenizer_class",
    "torch_dtype",
    "transformers_version",
    "use_bfloat16",
    // What a forward returns beside its logits, and how the Python program runs.
    "_attn_implementation",
    "_attn_implementation_autoset",
    "_attn_implementation_internal",
    "_experts_implementation",
    "attn_implementation",
    "chunk_size_feed_forward",
    "experts_implementation",
    "is_decoder",
    "output_attentions",
    "output_hidden_states",
    "return_dict",
    "tf_legacy_loss",
    "tie_last_hidden_states",
    "torchscript",
    "use_cache",
    "use_return_dict",
    // Heads for other tasks.
    "finetuning_task",
    "id2label",
    "label2id",
    "num_labels",
    "problem_type",
    "task_specific_params",
    // Ids that only a tokenizer or an encoder-decoder uses.
    "bos_token_id",
    "decoder_start_token_id",
    "pad_token_id",
    "prefix",
    "sep_token_id",
    // Defaults of transformers' generate(), which are not part of the model.
    "bad_words_ids",
    "begin_suppress_tokens",
    "diversity_penalty",
    "do_sample",
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "exponential_decay_length_penalty",
    "forced_bos_token_id",
    "forced_decoder_ids",
    "forced_eos_token_id",
    "length_penalty",
    "max_length",
    "max_new_tokens",
    "min_length",
    "min_new_tokens",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_return_sequences",
    "output_scores",
    "remove_invalid_values",
    "repetition_penalty",
    "return_dict_in_generate",
    "suppress_tokens",
    "temperature",
    "top_k",
    "top_p",
    "typical_p",
};

constexpr const char* kNeutralOnly[] = {
    "add_cross_attention", "auto_map",         "compression_config", "cross_attention_hidden_size",
    "is_encoder_decoder",  "per_layer_config", "pruned_heads",       "quantization_config",
    "tie_encoder_decoder",
};

bool IsNeutral(const Json& value) {
  if (value.is_boolean()) return !value.get<bool>();
  if (value.is_number()) return value == 0;
  if (value.is_string()) return value.get_ref<const std::string&>().empty();
  return value.empty();
}

}  // namespace

std::span<const std::string_view> BaseClassWithoutEffect() { return kWithoutEffect; }

void RequireNeutralBaseClass(ConfigFields& top, bool own_code) {
  for (const char* key : kNeutralOnly) {
    const Json* value = top.Find(key);
    if (own_code && std::string_view(key) == "auto_map") continue;
    if (value != nullptr && !IsNeutral(*value)) top.Unsupported(key, "null, false, 0 or nothing");
  }
}

bool WrittenSince(ConfigFields& top, int major, int minor) {
  const std::string version = top.String("transformers_version", "");
  const char* end = version.data() + version.size();
  int got_major = 0;
  int got_minor = 0;
  const auto first = std::from_chars(version.data(), end, got_major);
  if (first.ec != std::errc() || first.ptr == end || *first.ptr != '.') return false;
  if (std::from_chars(first.ptr + 1, end, got_minor).ec != std::errc()) return false;
  return got_major > major || (got_major == major && got_minor >= minor);
}

}  // namespace pith
