#include "load/config_gguf.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/file.h"
#include "load/config_gguf_blocks.h"
#include "load/gguf_fields.h"
#include "load/gguf_names.h"
#include "load/stored_tensor.h"

namespace pith {
namespace {

// Rows of the embedding, which its tensor knows, and a key too where there is one.
int64_t ReadVocabSize(const Gguf& file, GgufFields& keys) {
  const auto embedding = std::ranges::find(file.tensors(), kGgufEmbedding, &GgufTensor::name);
  Require(embedding != file.tensors().end(), ErrorCode::kNotFound, file.source(), ": tensor ",
          Quoted(kGgufEmbedding), " is missing");
  const int64_t rows = embedding->shape.size() < 2 ? 1 : embedding->shape.front();
  Require(rows <= int64_t{1} << 24, ErrorCode::kCorruptData, file.source(), ": ",
          Quoted(kGgufEmbedding), ": got ", rows, " rows, expected at most 2^24");
  if (keys.Has("vocab_size")) file.Int(keys.Named("vocab_size"), rows, rows);
  return rows;
}

// A part of a split model is not a model.
void RequireWhole(const Gguf& file, GgufFields& keys) {
  if (file.Has("general.type") && file.String("general.type") != "model") {
    file.Fail("general.type", "\"model\"");
  }
  for (const char* key : {"split.no", "split.tensors.count", "split.count"}) keys.Read(key);
  Require(!file.Has("split.count") || file.Int("split.count", 0, 65535) <= 1,
          ErrorCode::kUnsupported, file.source(),
          ": split.count: got a part of a model, expected a whole one (llama-gguf-split --merge)");
}

void ReadEnds(const Gguf& file, ModelConfig& config) {
  for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"}) {
    if (!file.Has(key)) continue;
    const auto id = static_cast<int32_t>(file.Int(key, 0, config.vocab_size - 1));
    if (config.eos_token_ids != std::vector{id}) config.eos_token_ids.push_back(id);
  }
}

void ReadMambaLayers(GgufFields& keys, int64_t layers, ModelConfig& config) {
  const LayerConfig layer = keys.architecture() == "mamba2"
                                ? LayerConfig(ReadGgufMamba2(keys, config.norm_eps))
                                : LayerConfig(ReadGgufMamba1(keys, config.norm_eps));
  config.layers.assign(static_cast<size_t>(layers), layer);
  for (const char* key :
       {"feed_forward_length", "attention.head_count", "attention.head_count_kv"}) {
    keys.Zero(key);
  }
}

}  // namespace

ModelConfig ReadGgufConfig(const Gguf& file) {
  GgufFields keys(file);
  const GgufArchitecture* const architecture = FindGgufArchitecture(keys.architecture());
  Require(architecture != nullptr, ErrorCode::kUnsupported, file.source(),
          ": general.architecture: got ", Quoted(keys.architecture()),
          ", which is not supported; expected ", GgufArchitectureNames());
  RequireWhole(file, keys);
  ModelConfig config;
  config.format = kGgufFormat;
  config.architecture = architecture->name;
  config.d_model = keys.Size("embedding_length");
  config.vocab_size = ReadVocabSize(file, keys);
  // Nemotron-H's files have the other key too, or alone.
  const bool rms =
      keys.Has("attention.layer_norm_rms_epsilon") || config.architecture != "nemotron_h";
  if (config.architecture == "nemotron_h") keys.Named("attention.layer_norm_epsilon");
  config.norm_eps =
      keys.Epsilon(rms ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon");
  config.tie_embeddings = !keys.HasTensor(kGgufHead);
  ReadEnds(file, config);
  const int64_t blocks = keys.Size("block_count", 1 << 14);
  if (architecture->name.starts_with("mamba")) {
    ReadMambaLayers(keys, blocks, config);
  } else {
    ReadGgufBlocks(keys, *architecture, blocks, config);
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
