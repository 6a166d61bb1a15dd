#include "load/config_gguf.h"

#include <algorithm>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/file.h"
#include "load/config_fields.h"
#include "load/gguf_names.h"
#include "load/stored_tensor.h"

namespace pith {
namespace {

// Where a file is from, what it is called, how it was quantised, and what the tokenizer reads.
constexpr std::string_view kPrefixesWithoutEffect[] = {"general.", "quantize.", "tokenizer."};

// The keys of one architecture; remembers which were asked for.
class Keys {
 public:
  explicit Keys(const Gguf& file)
      : file_(file), architecture_(file.String("general.architecture")) {}

  std::string_view architecture() const { return architecture_; }
  std::string Named(std::string_view key) {
    std::string named = StrCat(architecture_, ".", key);
    read_.insert(named);
    return named;
  }
  bool Has(std::string_view key) { return file_.Has(Named(key)); }
  int64_t Size(std::string_view key, int64_t max = kMaxDim) {
    return file_.Int(Named(key), 1, max);
  }
  float Epsilon(std::string_view key) {
    const std::string named = Named(key);
    const double value = file_.Number(named);
    if (!(value >= 0 && value <= 1)) file_.Fail(named, "a number from 0 to 1");
    return static_cast<float>(value);
  }
  bool Bool(std::string_view key, bool fallback) {
    return Has(key) ? file_.Bool(Named(key)) : fallback;
  }
  // What other architectures have, and these must not.
  void Zero(std::string_view key) {
    if (Has(key)) file_.Int(Named(key), 0, 0);
  }
  void Finish() const {
    for (const auto& [key, value] : file_.values()) {
      const bool known = read_.contains(key) ||
                         std::ranges::any_of(kPrefixesWithoutEffect, [&key = key](auto prefix) {
                           return key.starts_with(prefix);
                         });
      Require(known, ErrorCode::kUnsupported, file_.source(), ": ", Excerpt(key), ": got ",
              file_.Shown(key), ", but this key is not known to pith");
    }
  }
  void Read(std::string key) { read_.insert(std::move(key)); }

 private:
  const Gguf& file_;
  std::string architecture_;
  std::set<std::string, std::less<>> read_;
};

MambaConfig ReadCommon(Keys& keys) {
  MambaConfig common;
  common.d_conv = keys.Size("ssm.conv_kernel", 8);
  common.d_inner = keys.Size("ssm.inner_size");
  common.d_state = keys.Size("ssm.state_size");
  return common;
}

Mamba1Config ReadMamba1(const Gguf& file, Keys& keys, float norm_eps) {
  Mamba1Config mixer{ReadCommon(keys)};
  mixer.dt_rank = keys.Size("ssm.time_step_rank");
  mixer.bcdt_norm = keys.Bool("ssm.dt_b_c_rms", false);
  // llama.cpp knows one ε for all norms; FalconMamba's mixer has its own, which pith writes here.
  mixer.bcdt_norm_eps = norm_eps;
  if (keys.Has(kGgufMixerEpsilon)) mixer.bcdt_norm_eps = keys.Epsilon(kGgufMixerEpsilon);
  if (keys.Has("ssm.group_count")) file.Int(keys.Named("ssm.group_count"), 0, 1);
  return mixer;
}

Mamba2Config ReadMamba2(const Gguf& file, Keys& keys, float norm_eps) {
  Mamba2Config mixer{ReadCommon(keys)};
  mixer.n_heads = keys.Size("ssm.time_step_rank");
  mixer.n_groups = keys.Size("ssm.group_count");
  mixer.chunk_size = 256;
  mixer.gated_norm = true;
  mixer.gated_norm_eps = norm_eps;
  if (mixer.d_inner % mixer.n_heads != 0) {
    file.Fail(keys.Named("ssm.time_step_rank"),
              StrCat("the number of heads, a divisor of ssm.inner_size = ", mixer.d_inner));
  }
  if (mixer.n_heads % mixer.n_groups != 0) {
    file.Fail(keys.Named("ssm.group_count"),
              StrCat("a divisor of the number of heads, ", mixer.n_heads));
  }
  mixer.head_dim = mixer.d_inner / mixer.n_heads;
  mixer.gated_norm_group = mixer.d_inner / mixer.n_groups;
  return mixer;
}

// Rows of the embedding, which its tensor knows, and a key too where there is one.
int64_t ReadVocabSize(const Gguf& file, Keys& keys) {
  const auto embedding = std::ranges::find(file.tensors(), kGgufEmbedding, &GgufTensor::name);
  Require(embedding != file.tensors().end(), ErrorCode::kNotFound, file.source(), ": tensor ",
          Quoted(kGgufEmbedding), " is missing");
  const int64_t rows = embedding->shape.size() < 2 ? 1 : embedding->shape.front();
  Require(rows <= int64_t{1} << 24, ErrorCode::kCorruptData, file.source(), ": ",
          Quoted(kGgufEmbedding), ": got ", rows, " rows, expected at most 2^24");
  if (keys.Has("vocab_size")) file.Int(keys.Named("vocab_size"), rows, rows);
  return rows;
}

}  // namespace

ModelConfig ReadGgufConfig(const Gguf& file) {
  Keys keys(file);
  const bool mamba2 = keys.architecture() == "mamba2";
  Require(mamba2 || keys.architecture() == "mamba", ErrorCode::kUnsupported, file.source(),
          ": general.architecture: got ", Quoted(keys.architecture()),
          ", which is not supported; expected \"mamba\" or \"mamba2\"");
  if (file.Has("general.type") && file.String("general.type") != "model") {
    file.Fail("general.type", "\"model\"");
  }
  keys.Read("split.no");
  keys.Read("split.tensors.count");
  keys.Read("split.count");
  Require(!file.Has("split.count") || file.Int("split.count", 0, 65535) <= 1,
          ErrorCode::kUnsupported, file.source(),
          ": split.count: got a part of a model, expected a whole one (llama-gguf-split --merge)");
  ModelConfig config;
  config.format = kGgufFormat;
  config.d_model = keys.Size("embedding_length");
  config.vocab_size = ReadVocabSize(file, keys);
  config.norm_eps = keys.Epsilon("attention.layer_norm_rms_epsilon");
  config.tie_embeddings =
      std::ranges::find(file.tensors(), kGgufHead, &GgufTensor::name) == file.tensors().end();
  for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"}) {
    if (!file.Has(key)) continue;
    const auto id = static_cast<int32_t>(file.Int(key, 0, config.vocab_size - 1));
    if (config.eos_token_ids != std::vector{id}) config.eos_token_ids.push_back(id);
  }
  const int64_t layers = keys.Size("block_count", 1 << 14);
  const LayerConfig layer = mamba2 ? LayerConfig(ReadMamba2(file, keys, config.norm_eps))
                                   : LayerConfig(ReadMamba1(file, keys, config.norm_eps));
  config.layers.assign(static_cast<size_t>(layers), layer);
  for (const char* key :
       {"feed_forward_length", "attention.head_count", "attention.head_count_kv"}) {
    keys.Zero(key);
  }
  keys.Named("context_length");  // a hint: there is no longest text
  keys.Finish();
  return config;
}

ModelConfig ReadConfigOf(const std::filesystem::path& model) {
  if (!IsModelFile(model)) return LoadModelConfig(model / "config.json");
  const MappedFile file(model);
  return ReadGgufConfig(Gguf(file.bytes(), model.string()));
}

}  // namespace pith
