// What a GGUF file's keys say of the layers of a model.
#ifndef PITH_LOAD_CONFIG_GGUF_BLOCKS_H_
#define PITH_LOAD_CONFIG_GGUF_BLOCKS_H_

#include "load/gguf_fields.h"
#include "load/gguf_names.h"
#include "load/model_config.h"

namespace pith {

// Mixers of the architectures that have them. norm_eps: of all norms of the model.
Mamba1Config ReadGgufMamba1(GgufFields& keys, float norm_eps);
Mamba2Config ReadGgufMamba2(GgufFields& keys, float norm_eps);

// Adds the layers of a Transformer or a hybrid to a config that has its width, and sets what its
// branches are multiplied by.
void ReadGgufBlocks(GgufFields& keys, const GgufArchitecture& architecture, int64_t blocks,
                    ModelConfig& config);

}  // namespace pith

#endif  // PITH_LOAD_CONFIG_GGUF_BLOCKS_H_
