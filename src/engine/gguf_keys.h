// The keys of a GGUF file that say what model and what tokenizer it holds.
#ifndef PITH_ENGINE_GGUF_KEYS_H_
#define PITH_ENGINE_GGUF_KEYS_H_

#include <cstdint>
#include <filesystem>
#include <string>

#include "core/gguf_writer.h"
#include "load/model_config.h"

namespace pith {

// Throws kUnsupported, naming `source`, where such keys cannot tell all that `config` says.
void AddConfigKeys(const ModelConfig& config, const std::string& name, const std::string& source,
                   GgufHead& head);

// `tokenizer`: a tokenizer.json or a GGUF file; empty: the file says that it has none.
void AddTokenizerKeys(const std::filesystem::path& tokenizer, const ModelConfig& config,
                      GgufHead& head);

// What most matrices are, by llama.cpp's numbers (enum llama_ftype).
void AddTypeKeys(DType dtype, GgufHead& head);

}  // namespace pith

#endif  // PITH_ENGINE_GGUF_KEYS_H_
