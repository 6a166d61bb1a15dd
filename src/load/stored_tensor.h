// Tensors as a checkpoint file holds them, before anything is known about the model.
#ifndef PITH_LOAD_STORED_TENSOR_H_
#define PITH_LOAD_STORED_TENSOR_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/bytes.h"
#include "core/dtype.h"

namespace pith {

struct StoredTensor {
  std::string file;            // for messages
  std::string dtype_name;      // as the format spells it: "BF16", "I64", ...
  std::optional<DType> dtype;  // empty: not a type that weights may have
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;  // in the file's mapping, any alignment
  // In elements, as many as the shape has sizes; empty for a row-major tensor without gaps. With
  // strides, `bytes` reach from the first element to the last, and the shape may name many more
  // elements than there are (a stride of 0 repeats), so whoever copies checks the shape first.
  std::vector<int64_t> strides;
};

using TensorTable = std::map<std::string, StoredTensor, std::less<>>;

// "F32", "F16" and "BF16", as safetensors spells them.
std::optional<DType> WeightDType(std::string_view name);

// Bytes of one element of a type as safetensors spells it; empty for a name that is not known.
std::optional<int64_t> ElementBytes(std::string_view dtype_name);

// Copies a tensor with strides, row-major, into `out`, which has room for exactly its elements.
void CopyStrided(const StoredTensor& tensor, std::span<std::byte> out);

// Product of the sizes; empty on a negative size or where it passes 2^62.
std::optional<int64_t> ElementCount(std::span<const int64_t> shape);

// "[3, 4]".
std::string ShapeText(std::span<const int64_t> shape);

// A name from a hostile file, fit for a message: quoted, short, printable.
std::string Quoted(std::string_view name);

}  // namespace pith

#endif  // PITH_LOAD_STORED_TENSOR_H_
