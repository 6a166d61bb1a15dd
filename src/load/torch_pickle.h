// Interpreter of the pickles that torch.save writes for a dict of tensors.
#ifndef PITH_LOAD_TORCH_PICKLE_H_
#define PITH_LOAD_TORCH_PICKLE_H_

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "load/pickle_values.h"

namespace pith {

// What a pickle left behind: its values, which of them is the result, and where it ended.
struct Unpickled {
  pickle::Values values;
  pickle::Id root = 0;
  size_t size = 0;
};

// Runs the pickle with which `bytes` begin. Throws kCorruptData for a malformed program,
// kUnsupported for an opcode or global off the list.
Unpickled RunPickle(std::span<const std::byte> bytes, const std::string& source);

// The tensors of a state dict whose pickle is the whole of `program`.
std::vector<PickledTensor> ReadStateDictPickle(std::span<const std::byte> program,
                                               const std::string& source);

}  // namespace pith

#endif  // PITH_LOAD_TORCH_PICKLE_H_
