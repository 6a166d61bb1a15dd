#include "load/stored_tensor.h"

#include "core/error.h"

namespace pith {

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
