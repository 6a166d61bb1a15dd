// The keys of a GGUF file that say what a model's layers are.
#ifndef PITH_ENGINE_GGUF_ARCHITECTURE_H_
#define PITH_ENGINE_GGUF_ARCHITECTURE_H_

#include <string>

#include "core/gguf_writer.h"
#include "load/model_config.h"

namespace pith {

// `config` has passed CheckGgufTells.
void AddArchitectureKeys(const ModelConfig& config, const std::string& name, GgufHead& head);

}  // namespace pith

#endif  // PITH_ENGINE_GGUF_ARCHITECTURE_H_
