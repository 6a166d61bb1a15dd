// The architecture of a model in a GGUF file, from the file's keys.
#ifndef PITH_LOAD_CONFIG_GGUF_H_
#define PITH_LOAD_CONFIG_GGUF_H_

#include <filesystem>

#include "core/gguf.h"
#include "load/model_config.h"

namespace pith {

// Keys are those of llama.cpp for the architectures that pith knows (load/gguf_names.h). Each is
// read, or cannot change a forward, or is an error that names it: kNotFound, kCorruptData,
// kUnsupported.
ModelConfig ReadGgufConfig(const Gguf& file);

// Of a model directory, from its config.json, or of a GGUF file.
ModelConfig ReadConfigOf(const std::filesystem::path& model);

}  // namespace pith

#endif  // PITH_LOAD_CONFIG_GGUF_H_
