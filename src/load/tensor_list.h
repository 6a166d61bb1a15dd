// The tensors that a model of a config has, for whoever writes one.
#ifndef PITH_LOAD_TENSOR_LIST_H_
#define PITH_LOAD_TENSOR_LIST_H_

#include <cstdint>
#include <string>
#include <vector>

#include "load/model_config.h"

namespace pith {

struct ListedTensor {
  std::string name;  // as a TensorSource knows it
  std::vector<int64_t> shape;
  bool matrix = false;  // TensorSource::Matrix gives it; else Vector, or Decay for A_log
};

// In the order of the layers, a mixture's experts side by side for each matrix; those that `config`
// leaves out are left out.
std::vector<ListedTensor> ListTensors(const ModelConfig& config);

}  // namespace pith

#endif  // PITH_LOAD_TENSOR_LIST_H_
