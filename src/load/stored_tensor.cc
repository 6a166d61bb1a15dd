#include "load/stored_tensor.h"

#include <cstring>

#include "core/error.h"

namespace pith {

std::optional<int64_t> ElementBytes(std::string_view dtype_name) {
  static const std::map<std::string_view, int64_t> kBytes = {
      {"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"F8_E8M0", 1},
      {"U16", 2},  {"I16", 2}, {"F16", 2}, {"BF16", 2},    {"U32", 4},     {"I32", 4},
      {"F32", 4},  {"U64", 8}, {"I64", 8}, {"F64", 8},     {"C64", 8}};
  const auto it = kBytes.find(dtype_name);
  if (it == kBytes.end()) return std::nullopt;
  return it->second;
}

void CopyStrided(const StoredTensor& tensor, std::span<std::byte> out) {
  const size_t width = static_cast<size_t>(*ElementBytes(tensor.dtype_name));
  const size_t dims = tensor.shape.size();
  PITH_CHECK(tensor.strides.size() == dims && out.size() % width == 0);
  std::vector<int64_t> index(dims);
  size_t from = 0;  // in elements
  for (size_t to = 0; to < out.size(); to += width) {
    PITH_CHECK((from + 1) * width <= tensor.bytes.size());
    std::memcpy(out.data() + to, tensor.bytes.data() + from * width, width);
    for (size_t d = dims; d-- > 0;) {
      from += tensor.strides[d];
      if (++index[d] < tensor.shape[d]) break;
      from -= tensor.strides[d] * tensor.shape[d];
      index[d] = 0;
    }
  }
}

std::optional<DType> WeightDType(std::string_view name) {
  if (name == "F32") return DType::kF32;
  if (name == "F16") return DType::kF16;
  if (name == "BF16") return DType::kBF16;
  return std::nullopt;
}

std::optional<int64_t> ElementCount(std::span<const int64_t> shape) {
  int64_t count = 1;
  for (const int64_t size : shape) {
    if (size < 0 || __builtin_mul_overflow(count, size, &count)) return std::nullopt;
    if (count > int64_t{1} << 62) return std::nullopt;
  }
  return count;
}

std::string ShapeText(std::span<const int64_t> shape) {
  std::string text = "[";
  for (const int64_t size : shape) text += StrCat(text.size() > 1 ? ", " : "", size);
  return text + "]";
}

std::string Quoted(std::string_view name) { return StrCat('"', Excerpt(name), '"'); }

}  // namespace pith
