// The file format of torch.save before torch 1.6, which it still writes on request: four pickles (a
// magic number, a version, facts about the machine, the object), a fifth with the storages' keys,
// then each storage as its number of elements and its bytes.
#ifndef PITH_LOAD_TORCH_LEGACY_H_
#define PITH_LOAD_TORCH_LEGACY_H_

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "load/pickle_values.h"

namespace pith {

struct LegacyTorchFile {
  std::vector<PickledTensor> tensors;
  std::map<std::string, std::span<const std::byte>, std::less<>> storages;  // by key; in the file
};

// Whether the file begins with the format's magic number.
bool IsLegacyTorchFile(std::span<const std::byte> file);

// `file` must outlive the result. Throws kCorruptData or kUnsupported.
LegacyTorchFile ReadLegacyTorchFile(std::span<const std::byte> file, const std::string& source);

}  // namespace pith

#endif  // PITH_LOAD_TORCH_LEGACY_H_
