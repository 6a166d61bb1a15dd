#include "load/gguf_fields.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/printable.h"

namespace pith {
namespace {

// Where a file is from, what it is called, how it was quantised, and what the tokenizer reads.
constexpr std::string_view kPrefixesWithoutEffect[] = {"general.", "quantize.", "tokenizer."};

}  // namespace

GgufFields::GgufFields(const Gguf& file)
    : file_(file), architecture_(file.String("general.architecture")) {
  for (const GgufTensor& tensor : file.tensors()) tensors_.insert(tensor.name);
}

std::string GgufFields::Named(std::string_view key) {
  std::string named = StrCat(architecture_, ".", key);
  read_.insert(named);
  return named;
}

float GgufFields::Epsilon(std::string_view key) {
  const double value = file_.Number(Named(key));
  if (!(value >= 0 && value <= 1)) Fail(key, "a number from 0 to 1");
  return static_cast<float>(value);
}

float GgufFields::Positive(std::string_view key, float fallback) {
  if (!Has(key)) return fallback;
  const auto value = static_cast<float>(file_.Number(Named(key)));
  if (!(value > 0 && std::isfinite(value))) Fail(key, "a finite number above 0");
  return value;
}

std::vector<int64_t> GgufFields::PerBlock(std::string_view key, int64_t blocks) {
  const std::string named = Named(key);
  const auto found = file_.values().find(named);
  const auto count = static_cast<size_t>(blocks);
  if (found == file_.values().end() || !found->second.is_array) {
    return std::vector<int64_t>(count, file_.Int(named, 0, kMaxDim));
  }
  if (found->second.count != count) Fail(key, StrCat("an array of ", blocks));
  std::vector<int64_t> numbers = file_.Ints(named);
  for (const int64_t number : numbers) {
    if (number < 0 || number > kMaxDim) Fail(key, StrCat("integers from 0 to ", kMaxDim));
  }
  return numbers;
}

void GgufFields::Finish() const {
  for (const auto& [key, value] : file_.values()) {
    const bool known = read_.contains(key) ||
                       std::ranges::any_of(kPrefixesWithoutEffect, [&key = key](auto prefix) {
                         return key.starts_with(prefix);
                       });
    Require(known, ErrorCode::kUnsupported, file_.source(), ": ", Excerpt(key), ": got ",
            file_.Shown(key), ", but this key is not known to pith");
  }
}

}  // namespace pith
