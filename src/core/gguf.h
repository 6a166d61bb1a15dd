// GGUF files, version 2 or 3, little-endian: keys with values, tensors by name, and their data.
// What the keys mean is told by load/config_gguf.cc and tokenize/tokenizer_gguf.cc. The format as
// pith reads and writes it: docs/formats/gguf.md.
#ifndef PITH_CORE_GGUF_H_
#define PITH_CORE_GGUF_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/dtype.h"

namespace pith {

inline constexpr std::string_view kGgufMagic = "GGUF";

// As the format numbers them.
enum class GgufType : uint32_t {
  kUint8,
  kInt8,
  kUint16,
  kInt16,
  kUint32,
  kInt32,
  kFloat32,
  kBool,
  kString,
  kArray,
  kUint64,
  kInt64,
  kFloat64
};

// Bytes of one value; empty for strings and arrays, whose size is their own.
std::optional<uint64_t> ElementSize(GgufType type);

// The format's number of a stored type, and the name that people know.
uint32_t GgufNumber(DType dtype);
std::string_view GgufName(DType dtype);

struct GgufValue {
  GgufType type = GgufType::kUint8;  // of an array: of its elements, which are no arrays
  bool is_array = false;
  uint64_t count = 1;
  std::span<const std::byte> bytes;  // all elements; a string has its length before it
};

struct GgufTensor {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;        // the outermost size first, where GGUF has the innermost first
  std::span<const std::byte> bytes;  // in the file, aligned as the file says
};

// A whole file, checked: every count, length, type and offset lies within the file, no key and no
// tensor stands twice, sizes do not overflow, rows are whole blocks, and the tensors lie one behind
// the other in their order, aligned. Values and tensors point into `file`.
class Gguf {
 public:
  // `source` is the file's name in messages. Throws kCorruptData; kUnsupported for another version
  // or byte order, an array of arrays, and a tensor of a type that DType lacks.
  Gguf(std::span<const std::byte> file, std::string source);

  const std::string& source() const { return source_; }
  const std::map<std::string, GgufValue, std::less<>>& values() const { return values_; }
  const std::vector<GgufTensor>& tensors() const { return tensors_; }

  // Readers of one value. They throw kNotFound where the key is missing and kCorruptData where its
  // value is of another type, naming file, key, value and what was expected.
  bool Has(std::string_view key) const { return values_.contains(key); }
  int64_t Int(std::string_view key, int64_t min, int64_t max) const;  // of any integer type
  double Number(std::string_view key) const;                          // of any type of numbers
  bool Bool(std::string_view key) const;
  std::string_view String(std::string_view key) const;
  std::vector<std::string_view> Strings(std::string_view key) const;
  std::vector<int64_t> Ints(std::string_view key) const;
  std::vector<float> Floats(std::string_view key) const;  // of float32, or of integers
  // The value for a message: short and printable.
  std::string Shown(std::string_view key) const;
  [[noreturn]] void Fail(std::string_view key, std::string_view expected) const;

 private:
  const GgufValue& Find(std::string_view key) const;

  std::string source_;
  std::map<std::string, GgufValue, std::less<>> values_;
  std::vector<GgufTensor> tensors_;
};

// Whether these are the first bytes of a GGUF file.
bool StartsAsGguf(std::span<const std::byte> file);

// Whether `path` names a file, not a directory, and so a model in one GGUF file.
bool IsModelFile(const std::filesystem::path& path);

}  // namespace pith

#endif  // PITH_CORE_GGUF_H_
