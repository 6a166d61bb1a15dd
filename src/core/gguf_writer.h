// The head of a GGUF file: version 3, little-endian, aligned to 32 bytes.
#ifndef PITH_CORE_GGUF_WRITER_H_
#define PITH_CORE_GGUF_WRITER_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "core/dtype.h"

namespace pith {

// Collects keys and tensors. The data follows: each tensor's bytes in the order in which they were
// added, each filled up with zeros to a multiple of kAlignment.
class GgufHead {
 public:
  static constexpr int64_t kAlignment = 32;
  static int64_t Padded(int64_t bytes) {
    return (bytes + kAlignment - 1) / kAlignment * kAlignment;
  }

  void AddString(std::string_view key, std::string_view text);
  void AddUint32(std::string_view key, int64_t value);
  void AddFloat32(std::string_view key, float value);
  void AddBool(std::string_view key, bool value);
  void AddStrings(std::string_view key, std::span<const std::string> texts);
  void AddInt32s(std::string_view key, std::span<const int32_t> values);
  void AddFloat32s(std::string_view key, std::span<const float> values);
  // `shape` has the outermost size first.
  void AddTensor(std::string_view name, DType dtype, std::span<const int64_t> shape);

  // Filled up to where the data begins.
  std::string Bytes() const;
  int64_t data_bytes() const { return data_bytes_; }

 private:
  uint64_t keys_ = 0;
  uint64_t tensors_ = 0;
  std::string key_bytes_;
  std::string tensor_bytes_;
  int64_t data_bytes_ = 0;
};

}  // namespace pith

#endif  // PITH_CORE_GGUF_WRITER_H_
