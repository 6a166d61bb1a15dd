// What a GGUF file cannot tell of a model.
#ifndef PITH_ENGINE_GGUF_CHECKS_H_
#define PITH_ENGINE_GGUF_CHECKS_H_

#include <string>

#include "load/model_config.h"

namespace pith {

// Throws kUnsupported, naming `source` and the first thing of `config` that neither a key of its
// architecture nor llama.cpp's code for it says.
void CheckGgufTells(const ModelConfig& config, const std::string& source);

}  // namespace pith

#endif  // PITH_ENGINE_GGUF_CHECKS_H_
