// The tensors of a checkpoint directory, whatever files they lie in.
#ifndef PITH_LOAD_CHECKPOINT_FILES_H_
#define PITH_LOAD_CHECKPOINT_FILES_H_

#include <filesystem>
#include <memory>
#include <vector>

#include "core/file.h"
#include "load/stored_tensor.h"

namespace pith {

struct CheckpointFiles {
  std::vector<std::shared_ptr<const MappedFile>> files;  // what the tensors point into
  TensorTable tensors;
};

// Opens the first of model.safetensors, model.safetensors.index.json, pytorch_model.bin and
// pytorch_model.bin.index.json that exists. An index must name each tensor of its shards once, and
// only files of the same directory. Throws kNotFound, kIo, kCorruptData or kUnsupported.
CheckpointFiles OpenCheckpoint(const std::filesystem::path& directory);

}  // namespace pith

#endif  // PITH_LOAD_CHECKPOINT_FILES_H_
