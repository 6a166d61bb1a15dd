// Reader of the safetensors format: 8 bytes of header length N, N bytes of JSON, the data.
#ifndef PITH_LOAD_SAFETENSORS_H_
#define PITH_LOAD_SAFETENSORS_H_

#include <cstddef>
#include <span>
#include <string>

#include "load/stored_tensor.h"

namespace pith {

// `file` is a whole file and must outlive the table, whose tensors point into it; `source` is its
// name in messages. As the format demands, the tensors must cover the data exactly: no overlap, no
// hole, nothing behind. Throws kCorruptData; kUnsupported for an element type of unknown size.
TensorTable ReadSafetensors(std::span<const std::byte> file, const std::string& source);

}  // namespace pith

#endif  // PITH_LOAD_SAFETENSORS_H_
