// Reader of pytorch_model.bin: what torch.save writes for a state dict since torch 1.6, a zip
// archive of stored members NAME/data.pkl and NAME/data/KEY (docs/design/0001-torch-bin-reader.md).
#ifndef PITH_LOAD_TORCH_BIN_H_
#define PITH_LOAD_TORCH_BIN_H_

#include <cstddef>
#include <span>
#include <string>

#include "load/stored_tensor.h"

namespace pith {

// `file` is a whole file and must outlive the table, whose tensors point into it; two may share
// bytes, as tied weights do. Throws kCorruptData; kUnsupported for the format before torch 1.6,
// transposed tensors, and whatever the zip and pickle readers refuse.
TensorTable ReadTorchBin(std::span<const std::byte> file, const std::string& source);

}  // namespace pith

#endif  // PITH_LOAD_TORCH_BIN_H_
