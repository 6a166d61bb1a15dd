// Reader of pytorch_model.bin: what torch.save writes for a dict of tensors. Since torch 1.6 that
// is a zip archive of stored members NAME/data.pkl and NAME/data/KEY, before it was a row of
// pickles (docs/design/0001-torch-bin-reader.md).
#ifndef PITH_LOAD_TORCH_BIN_H_
#define PITH_LOAD_TORCH_BIN_H_

#include <cstddef>
#include <span>
#include <string>

#include "load/stored_tensor.h"

namespace pith {

// `file` is a whole file and must outlive the table, whose tensors point into it; two may share
// bytes, as tied weights do, and transposed, sliced or expanded ones have strides. Throws
// kCorruptData, and kUnsupported for whatever the zip and pickle readers refuse.
TensorTable ReadTorchBin(std::span<const std::byte> file, const std::string& source);

}  // namespace pith

#endif  // PITH_LOAD_TORCH_BIN_H_
