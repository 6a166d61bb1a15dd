// Names of tensors as people's files have them, brought to one form.
#ifndef PITH_LOAD_TENSOR_NAMES_H_
#define PITH_LOAD_TENSOR_NAMES_H_

#include "load/model_config.h"
#include "load/stored_tensor.h"

namespace pith {

// - What wraps a model while it is trained leaves its mark in all names: "module." of
//   DistributedDataParallel, "_orig_mod." of torch.compile, "_fsdp_wrapped_module.",
//   "_checkpoint_wrapped_module.", "model." of a module that holds the model. These marks go.
// - A model that was saved without its head (MambaModel, Mamba2Model, MixerModel) has names without
//   "backbone."; it is put before them.
// - "embedding." is "embeddings." in transformers, which reads both.
// - Integers, truth values and doubles under a name that no weight has (step counters, say) are
//   buffers that no forward needs; they go. Under a weight's name they stay, to be refused by type.
//
// Throws kCorruptData where two names become one.
void NormalizeTensorNames(const ModelConfig& config, TensorTable& tensors);

}  // namespace pith

#endif  // PITH_LOAD_TENSOR_NAMES_H_
