// Where a model's files keep the tensors that pith asks for by its own names.
#ifndef PITH_LOAD_FILE_NAMES_H_
#define PITH_LOAD_FILE_NAMES_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "load/model_config.h"

namespace pith {

struct FileTensor {
  std::string name;
  std::vector<int64_t> shape;  // of the whole tensor
  // Where the wanted rows begin, the tensor seen as rows of its last size: files may keep several
  // matrices in one tensor. Of a vector, its first number.
  int64_t first_row = 0;
};

// In files of the config's format, for a tensor of this name and shape: mamba_ssm's names for
// Mamba, and for layers of other kinds "mixer." with transformers' own name of what is in it.
FileTensor TensorInFile(const ModelConfig& config, std::string_view name,
                        const std::vector<int64_t>& shape);

}  // namespace pith

#endif  // PITH_LOAD_FILE_NAMES_H_
