#include "engine/gguf_keys.h"

#include <limits>
#include <optional>
#include <variant>
#include <vector>

#include "core/error.h"
#include "core/file.h"
#include "core/gguf.h"
#include "core/xz.h"
#include "load/gguf_names.h"
#include "tokenize/tokenizer.h"
#include "tokenize/tokenizer_gguf.h"

namespace pith {
namespace {

// Throws unless the keys of a GGUF file can tell all that `config` says.
void CheckConfig(const ModelConfig& config, const std::string& source) {
  const auto refuse = [&](bool is, const char* what) {
    Require(!is, ErrorCode::kUnsupported, source, ": the model has ", what,
            ", which a GGUF file cannot tell");
  };
  refuse(config.layer_norm, "LayerNorm in place of RMSNorm");
  refuse(config.eos_token_ids.size() > 2, "more than two tokens that end a text");
  for (const LayerConfig& layer : config.layers) {
    const MambaConfig* const mamba = AsMamba(layer);
    refuse(mamba == nullptr, "layers that are not Mamba's");
    refuse(mamba->proj_bias, "biases on its projections");
    const auto* mixer = std::get_if<Mamba2Config>(&layer);
    if (mixer == nullptr) continue;
    refuse(!mixer->gated_norm, "no norm behind the gate");
    refuse(mixer->norm_before_gate, "a norm before the gate");
    refuse(mixer->d_has_hdim, "a D for each channel");
    refuse(mixer->dt_min > 0 || mixer->dt_max < std::numeric_limits<float>::infinity(),
           "bounds of the step size (dt_limit)");
    refuse(mixer->gated_norm_group * mixer->n_groups != mixer->d_inner,
           "a norm behind the gate that is not over groups");
    refuse(mixer->gated_norm_eps != config.norm_eps, "two different values of norm epsilon");
  }
}

uint32_t FileType(DType dtype) {  // llama.cpp's numbers (enum llama_ftype)
  switch (dtype) {
    case DType::kF32:
      return 0;
    case DType::kF16:
      return 1;
    case DType::kQ4_0:
      return 2;
    case DType::kQ8_0:
      return 7;
    case DType::kQ4_K:
      return 15;
    case DType::kQ6_K:
      return 18;
    case DType::kBF16:
      return 32;
    case DType::kI8:
      break;
  }
  Throw(ErrorCode::kInternal, "dtype: got ", Name(dtype), ", expected one that GGUF has");
}

void AddMixer(const Mamba1Config& mixer, const ModelConfig& config, GgufHead& head) {
  head.AddUint32("mamba.ssm.time_step_rank", mixer.dt_rank);
  head.AddBool("mamba.ssm.dt_b_c_rms", mixer.bcdt_norm);
  if (mixer.bcdt_norm && mixer.bcdt_norm_eps != config.norm_eps) {
    head.AddFloat32(StrCat("mamba.", kGgufMixerEpsilon), mixer.bcdt_norm_eps);
  }
}

void AddMixer(const Mamba2Config& mixer, const ModelConfig& /*config*/, GgufHead& head) {
  head.AddUint32("mamba2.ssm.time_step_rank", mixer.n_heads);
  head.AddUint32("mamba2.ssm.group_count", mixer.n_groups);
}

void AddArchitecture(const ModelConfig& config, const std::string& name, GgufHead& head) {
  const LayerConfig& first = config.layers.front();
  const std::string arch = std::holds_alternative<Mamba1Config>(first) ? "mamba" : "mamba2";
  head.AddString("general.architecture", arch);
  head.AddString("general.type", "model");
  head.AddString("general.name", name);
  head.AddUint32(arch + ".context_length", int64_t{1} << 20);  // llama.cpp wants one; there is none
  head.AddUint32(arch + ".embedding_length", config.d_model);
  head.AddUint32(arch + ".feed_forward_length", 0);
  head.AddUint32(arch + ".attention.head_count", 0);
  head.AddUint32(arch + ".block_count", config.n_layer());
  head.AddUint32(arch + ".vocab_size", config.vocab_size);
  head.AddFloat32(arch + ".attention.layer_norm_rms_epsilon", config.norm_eps);
  const MambaConfig& mamba = *AsMamba(first);  // CheckConfig
  head.AddUint32(arch + ".ssm.conv_kernel", mamba.d_conv);
  head.AddUint32(arch + ".ssm.inner_size", mamba.d_inner);
  head.AddUint32(arch + ".ssm.state_size", mamba.d_state);
  if (const auto* mamba1 = std::get_if<Mamba1Config>(&first)) {
    AddMixer(*mamba1, config, head);
  } else {
    AddMixer(std::get<Mamba2Config>(first), config, head);
  }
}

GgufVocabulary ReadVocabulary(const std::filesystem::path& path, int64_t size) {
  if (IsModelFile(path)) {
    const MappedFile file(path);
    if (StartsAsGguf(file.bytes())) {
      return ToGgufVocabulary(Gguf(file.bytes(), path.string()), size);
    }
  }
  return ToGgufVocabulary(ReadDataFile(path, kMaxTokenizerBytes), path.string(), size);
}

void AddVocabulary(const GgufVocabulary& vocabulary, GgufHead& head) {
  head.AddString("tokenizer.ggml.model", "gpt2");
  head.AddString("tokenizer.ggml.pre", vocabulary.pre);
  head.AddStrings("tokenizer.ggml.tokens", vocabulary.tokens);
  std::vector<int32_t> types;
  for (const GgufTokenType type : vocabulary.types) types.push_back(static_cast<int32_t>(type));
  head.AddInt32s("tokenizer.ggml.token_type", types);
  head.AddStrings("tokenizer.ggml.merges", vocabulary.merges);
  head.AddBool("tokenizer.ggml.add_bos_token", false);
}

}  // namespace

void AddConfigKeys(const ModelConfig& config, const std::string& name, const std::string& source,
                   GgufHead& head) {
  CheckConfig(config, source);
  AddArchitecture(config, name, head);
}

void AddTokenizerKeys(const std::filesystem::path& path, const ModelConfig& config,
                      GgufHead& head) {
  std::vector<int32_t> ends = config.eos_token_ids;
  if (path.empty()) {
    head.AddString("tokenizer.ggml.model", "no_vocab");
  } else {
    AddVocabulary(ReadVocabulary(path, config.vocab_size), head);
    const std::optional<int32_t> end = Tokenizer::FromFile(path).end_of_text();
    if (ends.empty() && end) ends.push_back(*end);
  }
  if (ends.empty()) return;
  head.AddUint32("tokenizer.ggml.bos_token_id", ends[0]);
  head.AddUint32("tokenizer.ggml.eos_token_id", ends[0]);
  if (ends.size() > 1) head.AddUint32("tokenizer.ggml.eot_token_id", ends[1]);
}

void AddTypeKeys(DType dtype, GgufHead& head) {
  head.AddUint32("general.file_type", FileType(dtype));
  if (IsBlocked(dtype)) head.AddUint32("general.quantization_version", 2);
}

}  // namespace pith
