#include <algorithm>
#include <bit>
#include <limits>
#include <optional>
#include <system_error>

#include "core/bytes.h"
#include "core/error.h"
#include "core/gguf.h"

namespace pith {
namespace {

bool IsInteger(GgufType type) {
  return ElementSize(type) && type != GgufType::kFloat32 && type != GgufType::kFloat64 &&
         type != GgufType::kBool;
}

// Element i of an array of integers; nothing where it passes int64_t.
std::optional<int64_t> IntegerAt(const GgufValue& value, uint64_t i) {
  const size_t at = i * *ElementSize(value.type);
  switch (value.type) {
    case GgufType::kUint8:
      return ReadLittle<uint8_t>(value.bytes, at);
    case GgufType::kInt8:
      return static_cast<int8_t>(ReadLittle<uint8_t>(value.bytes, at));
    case GgufType::kUint16:
      return ReadLittle<uint16_t>(value.bytes, at);
    case GgufType::kInt16:
      return static_cast<int16_t>(ReadLittle<uint16_t>(value.bytes, at));
    case GgufType::kUint32:
      return ReadLittle<uint32_t>(value.bytes, at);
    case GgufType::kInt32:
      return static_cast<int32_t>(ReadLittle<uint32_t>(value.bytes, at));
    case GgufType::kInt64:
      return static_cast<int64_t>(ReadLittle<uint64_t>(value.bytes, at));
    default:
      break;
  }
  PITH_CHECK(value.type == GgufType::kUint64);
  const auto wide = ReadLittle<uint64_t>(value.bytes, at);
  if (wide > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return std::nullopt;
  return static_cast<int64_t>(wide);
}

}  // namespace

std::optional<uint64_t> ElementSize(GgufType type) {
  switch (type) {
    case GgufType::kUint8:
    case GgufType::kInt8:
    case GgufType::kBool:
      return 1;
    case GgufType::kUint16:
    case GgufType::kInt16:
      return 2;
    case GgufType::kUint32:
    case GgufType::kInt32:
    case GgufType::kFloat32:
      return 4;
    case GgufType::kUint64:
    case GgufType::kInt64:
    case GgufType::kFloat64:
      return 8;
    case GgufType::kString:
    case GgufType::kArray:
      break;
  }
  return std::nullopt;
}

const GgufValue& Gguf::Find(std::string_view key) const {
  const auto it = values_.find(key);
  Require(it != values_.end(), ErrorCode::kNotFound, source_, ": ", key, ": missing");
  return it->second;
}

int64_t Gguf::Int(std::string_view key, int64_t min, int64_t max) const {
  const GgufValue& value = Find(key);
  const auto number = !value.is_array && IsInteger(value.type) ? IntegerAt(value, 0) : std::nullopt;
  if (!number || *number < min || *number > max) {
    Fail(key, StrCat("an integer from ", min, " to ", max));
  }
  return *number;
}

double Gguf::Number(std::string_view key) const {
  const GgufValue& value = Find(key);
  if (!value.is_array && value.type == GgufType::kFloat32) {
    return std::bit_cast<float>(ReadLittle<uint32_t>(value.bytes, 0));
  }
  if (!value.is_array && value.type == GgufType::kFloat64) {
    return std::bit_cast<double>(ReadLittle<uint64_t>(value.bytes, 0));
  }
  const auto number = !value.is_array && IsInteger(value.type) ? IntegerAt(value, 0) : std::nullopt;
  if (!number) Fail(key, "a number");
  return static_cast<double>(*number);
}

bool Gguf::Bool(std::string_view key) const {
  const GgufValue& value = Find(key);
  if (value.is_array || value.type != GgufType::kBool || value.bytes[0] > std::byte{1}) {
    Fail(key, "true or false");
  }
  return value.bytes[0] == std::byte{1};
}

std::string_view Gguf::String(std::string_view key) const {
  const GgufValue& value = Find(key);
  if (value.is_array || value.type != GgufType::kString) Fail(key, "a string");
  return {reinterpret_cast<const char*>(value.bytes.data()) + 8, value.bytes.size() - 8};
}

std::vector<std::string_view> Gguf::Strings(std::string_view key) const {
  const GgufValue& value = Find(key);
  if (!value.is_array || value.type != GgufType::kString) Fail(key, "an array of strings");
  std::vector<std::string_view> strings;
  strings.reserve(value.count);
  const char* at = reinterpret_cast<const char*>(value.bytes.data());
  for (uint64_t i = 0; i < value.count; ++i) {  // the constructor has walked this way
    const auto length = ReadLittle<uint64_t>(std::as_bytes(std::span(at, 8)), 0);
    strings.emplace_back(at + 8, length);
    at += 8 + length;
  }
  return strings;
}

std::vector<int64_t> Gguf::Ints(std::string_view key) const {
  const GgufValue& value = Find(key);
  if (!value.is_array || !IsInteger(value.type)) Fail(key, "an array of integers");
  std::vector<int64_t> numbers;
  numbers.reserve(value.count);
  for (uint64_t i = 0; i < value.count; ++i) {
    const auto number = IntegerAt(value, i);
    if (!number) Fail(key, "integers below 2^63");
    numbers.push_back(*number);
  }
  return numbers;
}

std::vector<float> Gguf::Floats(std::string_view key) const {
  const GgufValue& value = Find(key);
  std::vector<float> numbers;
  if (!value.is_array || value.type != GgufType::kFloat32) {
    if (!value.is_array || !IsInteger(value.type)) Fail(key, "an array of numbers");
    for (const int64_t number : Ints(key)) numbers.push_back(static_cast<float>(number));
    return numbers;
  }
  numbers.reserve(value.count);
  for (uint64_t i = 0; i < value.count; ++i) {
    numbers.push_back(std::bit_cast<float>(ReadLittle<uint32_t>(value.bytes, 4 * i)));
  }
  return numbers;
}

std::string Gguf::Shown(std::string_view key) const {
  const GgufValue& value = Find(key);
  if (value.is_array) return StrCat("an array of ", value.count);
  if (value.type == GgufType::kString) return StrCat('"', Excerpt(String(key)), '"');
  if (value.type == GgufType::kBool) {
    return value.bytes[0] == std::byte{0} ? "false" : "true";
  }
  if (!IsInteger(value.type)) return StrCat(Number(key));
  const auto number = IntegerAt(value, 0);
  return number ? StrCat(*number) : StrCat(ReadLittle<uint64_t>(value.bytes, 0));
}

void Gguf::Fail(std::string_view key, std::string_view expected) const {
  Throw(ErrorCode::kCorruptData, source_, ": ", key, ": got ", Shown(key), ", expected ", expected);
}

bool StartsAsGguf(std::span<const std::byte> file) {
  return file.size() >= kGgufMagic.size() &&
         std::ranges::equal(file.first(kGgufMagic.size()), std::as_bytes(std::span(kGgufMagic)));
}

bool IsModelFile(const std::filesystem::path& path) {
  std::error_code error;
  return std::filesystem::is_regular_file(path, error);
}

}  // namespace pith
