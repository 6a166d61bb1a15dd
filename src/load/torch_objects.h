// What torch's pickles mean by their globals and persistent ids, and where the tensors are.
#ifndef PITH_LOAD_TORCH_OBJECTS_H_
#define PITH_LOAD_TORCH_OBJECTS_H_

#include <string_view>
#include <vector>

#include "load/pickle_values.h"

namespace pith::pickle {

// "module.name" on the whitelist. Throws kUnsupported for any other.
Global FindGlobal(const Values& values, std::string_view module, std::string_view name);

// The record that `callable(*arguments)` stands for. Nothing is called.
Value Apply(Values& values, Id callable, Id arguments);

// The storage that a persistent id names: ('storage', type, key, device, number of elements), with
// a null behind it in files from before torch 1.6.
Storage LoadStorage(Values& values, Id id);

// The named tensors of a state dict, or of one that stands inside of a dict under "state_dict",
// "model_state_dict", "model" or "module", as training scripts write it.
std::vector<PickledTensor> StateDictTensors(Values& values, Id root);

}  // namespace pith::pickle

#endif  // PITH_LOAD_TORCH_OBJECTS_H_
