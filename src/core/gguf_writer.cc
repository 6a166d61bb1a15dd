#include "core/gguf_writer.h"

#include <bit>

#include "core/error.h"
#include "core/gguf.h"

namespace pith {
namespace {

template <class T>
void PutLittle(T value, std::string& to) {
  for (size_t i = 0; i < sizeof(T); ++i) to += static_cast<char>(value >> (8 * i) & 0xff);
}

void PutString(std::string_view text, std::string& to) {
  PutLittle<uint64_t>(text.size(), to);
  to += text;
}

void PutType(GgufType type, std::string& to) { PutLittle(static_cast<uint32_t>(type), to); }

}  // namespace

void GgufHead::AddString(std::string_view key, std::string_view text) {
  ++keys_;
  PutString(key, key_bytes_);
  PutType(GgufType::kString, key_bytes_);
  PutString(text, key_bytes_);
}

void GgufHead::AddUint32(std::string_view key, int64_t value) {
  PITH_CHECK(value >= 0 && value <= UINT32_MAX);
  ++keys_;
  PutString(key, key_bytes_);
  PutType(GgufType::kUint32, key_bytes_);
  PutLittle(static_cast<uint32_t>(value), key_bytes_);
}

void GgufHead::AddFloat32(std::string_view key, float value) {
  ++keys_;
  PutString(key, key_bytes_);
  PutType(GgufType::kFloat32, key_bytes_);
  PutLittle(std::bit_cast<uint32_t>(value), key_bytes_);
}

void GgufHead::AddBool(std::string_view key, bool value) {
  ++keys_;
  PutString(key, key_bytes_);
  PutType(GgufType::kBool, key_bytes_);
  key_bytes_ += value ? '\1' : '\0';
}

void GgufHead::AddStrings(std::string_view key, std::span<const std::string> texts) {
  ++keys_;
  PutString(key, key_bytes_);
  PutType(GgufType::kArray, key_bytes_);
  PutType(GgufType::kString, key_bytes_);
  PutLittle<uint64_t>(texts.size(), key_bytes_);
  for (const std::string& text : texts) PutString(text, key_bytes_);
}

void GgufHead::AddInt32s(std::string_view key, std::span<const int32_t> values) {
  ++keys_;
  PutString(key, key_bytes_);
  PutType(GgufType::kArray, key_bytes_);
  PutType(GgufType::kInt32, key_bytes_);
  PutLittle<uint64_t>(values.size(), key_bytes_);
  for (const int32_t value : values) PutLittle(static_cast<uint32_t>(value), key_bytes_);
}

void GgufHead::AddFloat32s(std::string_view key, std::span<const float> values) {
  ++keys_;
  PutString(key, key_bytes_);
  PutType(GgufType::kArray, key_bytes_);
  PutType(GgufType::kFloat32, key_bytes_);
  PutLittle<uint64_t>(values.size(), key_bytes_);
  for (const float value : values) PutLittle(std::bit_cast<uint32_t>(value), key_bytes_);
}

void GgufHead::AddTensor(std::string_view name, DType dtype, std::span<const int64_t> shape) {
  ++tensors_;
  PutString(name, tensor_bytes_);
  PutLittle(static_cast<uint32_t>(shape.size()), tensor_bytes_);
  int64_t rows = 1;
  for (auto size = shape.rbegin(); size != shape.rend(); ++size) {
    PutLittle(static_cast<uint64_t>(*size), tensor_bytes_);
    rows *= *size;
  }
  rows /= shape.back();
  PutLittle(GgufNumber(dtype), tensor_bytes_);
  PutLittle(static_cast<uint64_t>(data_bytes_), tensor_bytes_);
  data_bytes_ += Padded(rows * BytesOf(dtype, shape.back()));
}

std::string GgufHead::Bytes() const {
  std::string bytes(kGgufMagic);
  PutLittle<uint32_t>(3, bytes);
  PutLittle<uint64_t>(tensors_, bytes);
  PutLittle<uint64_t>(keys_, bytes);
  bytes += key_bytes_;
  bytes += tensor_bytes_;
  bytes.resize(static_cast<size_t>(Padded(std::ssize(bytes))), '\0');
  return bytes;
}

}  // namespace pith
