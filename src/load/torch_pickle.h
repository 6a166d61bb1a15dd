// Interpreter of the one kind of pickle that torch.save writes for a state dict.
//
// A pickle is a program. This interpreter knows only the opcodes and globals that a dict of name to
// tensor needs, refuses every other by name, and calls nothing: a "global" is an enumerator, and
// applying one builds a plain record. Whatever it builds lives in one flat array of bounded size,
// so hostile nesting or self-reference costs neither stack nor unbounded memory.
#ifndef PITH_LOAD_TORCH_PICKLE_H_
#define PITH_LOAD_TORCH_PICKLE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace pith {

// A tensor as the pickle describes it: a view into a storage, which is a file of its own.
struct PickledTensor {
  std::string name;
  std::string storage_key;
  std::string dtype_name;        // "F32", "F16" or "BF16"
  int64_t storage_elements = 0;  // all numbers are as read: the caller checks them against the file
  int64_t storage_offset = 0;    // in elements
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;  // in elements
};

// Throws kCorruptData for a malformed program, kUnsupported for an opcode or global off the list.
std::vector<PickledTensor> ReadStateDictPickle(std::span<const std::byte> program,
                                               const std::string& source);

}  // namespace pith

#endif  // PITH_LOAD_TORCH_PICKLE_H_
