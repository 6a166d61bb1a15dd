#include "core/gguf.h"

#include <algorithm>
#include <bit>
#include <set>
#include <utility>

#include "core/bytes.h"
#include "core/error.h"

namespace pith {
namespace {

constexpr int64_t kMaxNameBytes = 65535;  // the format's own limit
constexpr uint32_t kMaxDims = 4;          // ggml's
constexpr int64_t kMaxElements = int64_t{1} << 62;
constexpr uint64_t kLeastValueBytes = 8 + 4 + 1;           // a key's length, its type, a value
constexpr uint64_t kLeastTensorBytes = 8 + 4 + 8 + 4 + 8;  // a name's length, dims, type, offset
constexpr std::string_view kAlignmentKey = "general.alignment";

struct NumberedType {
  DType dtype;
  uint32_t number;
  std::string_view name;
};
constexpr NumberedType kTensorTypes[] = {{DType::kF32, 0, "F32"},    {DType::kF16, 1, "F16"},
                                         {DType::kQ4_0, 2, "Q4_0"},  {DType::kQ8_0, 8, "Q8_0"},
                                         {DType::kQ4_K, 12, "Q4_K"}, {DType::kQ6_K, 14, "Q6_K"},
                                         {DType::kBF16, 30, "BF16"}};

std::string Quoted(std::string_view text) { return StrCat('"', Excerpt(text), '"'); }

// Reads the head of a file from first to last; each step says what it reads, for messages.
class Cursor {
 public:
  Cursor(std::span<const std::byte> file, const std::string& source)
      : file_(file), source_(source) {}

  size_t at() const { return at_; }
  uint64_t left() const { return file_.size() - at_; }

  std::span<const std::byte> Take(uint64_t bytes, std::string_view what) {
    Require(bytes <= left(), ErrorCode::kCorruptData, source_, ": ", what, ": got ", bytes,
            " bytes at ", at_, ", expected at most the ", left(), " left in the file");
    const auto taken = file_.subspan(at_, bytes);
    at_ += bytes;
    return taken;
  }
  template <class T>
  T Number(std::string_view what) {
    return ReadLittle<T>(Take(sizeof(T), what), 0);
  }
  // How many entries follow, of at least `least` bytes each.
  uint64_t Count(uint64_t least, std::string_view what) {
    const auto count = Number<uint64_t>(what);
    Require(count <= left() / least, ErrorCode::kCorruptData, source_, ": ", what, ": got ", count,
            ", expected at most ", left() / least, ", for which the file has room");
    return count;
  }
  std::string_view String(std::string_view what) {
    const auto length = Number<uint64_t>(what);
    const auto bytes = Take(length, what);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

 private:
  std::span<const std::byte> file_;
  const std::string& source_;
  size_t at_ = 0;
};

GgufType ReadType(Cursor& cursor, const std::string& where) {
  const auto type = cursor.Number<uint32_t>(where);
  Require(type <= static_cast<uint32_t>(GgufType::kFloat64), ErrorCode::kCorruptData, where,
          ": got a value of type ", type, ", expected one of 0 to 12");
  return static_cast<GgufType>(type);
}

GgufValue ReadValue(Cursor& cursor, std::span<const std::byte> file, const std::string& where) {
  GgufValue value{.type = ReadType(cursor, where), .bytes = {}};
  if (value.type == GgufType::kArray) {
    value.is_array = true;
    value.type = ReadType(cursor, where);
    Require(value.type != GgufType::kArray, ErrorCode::kUnsupported, where,
            ": got an array of arrays, expected one of numbers or strings");
    value.count = cursor.Count(ElementSize(value.type).value_or(8), where);
  }
  const size_t begin = cursor.at();
  if (const auto size = ElementSize(value.type)) {
    cursor.Take(value.count * *size, where);  // Count has bounded the product
  } else {
    for (uint64_t i = 0; i < value.count; ++i) cursor.String(where);
  }
  value.bytes = file.subspan(begin, cursor.at() - begin);
  return value;
}

DType ReadTensorType(Cursor& cursor, const std::string& where) {
  const auto number = cursor.Number<uint32_t>(where);
  for (const NumberedType& known : kTensorTypes) {
    if (known.number == number) return known.dtype;
  }
  Throw(ErrorCode::kUnsupported, where, ": got tensor type ", number,
        ", expected F32 (0), F16 (1), BF16 (30), Q8_0 (8), Q4_0 (2), Q4_K (12) or Q6_K (14)");
}

struct TensorInfo {
  GgufTensor tensor;
  uint64_t offset = 0;
  int64_t bytes = 0;
};

TensorInfo ReadTensorInfo(Cursor& cursor, const std::string& source) {
  TensorInfo read;
  const std::string_view name = cursor.String("a tensor's name");
  const std::string where = Message(source, ": ", Quoted(name));
  Require(!name.empty() && std::ssize(name) <= kMaxNameBytes, ErrorCode::kCorruptData, where,
          ": got a name of ", name.size(), " bytes, expected 1 to ", kMaxNameBytes);
  read.tensor.name = name;
  const auto dims = cursor.Number<uint32_t>(where);
  Require(dims >= 1 && dims <= kMaxDims, ErrorCode::kCorruptData, where, ": got ", dims,
          " dimensions, expected 1 to ", kMaxDims);
  int64_t count = 1;
  for (uint32_t d = 0; d < dims; ++d) {
    const auto size = cursor.Number<uint64_t>(where);
    const bool fits = size >= 1 && size <= static_cast<uint64_t>(kMaxElements) &&
                      !__builtin_mul_overflow(count, static_cast<int64_t>(size), &count) &&
                      count <= kMaxElements;
    Require(fits, ErrorCode::kCorruptData, where, ": dimension ", d, ": got ", size,
            ", expected at least 1 and at most 2^62 elements in all");
    read.tensor.shape.insert(read.tensor.shape.begin(), static_cast<int64_t>(size));
  }
  read.tensor.dtype = ReadTensorType(cursor, where);
  const BlockShape block = BlockOf(read.tensor.dtype);
  Require(read.tensor.shape.back() % block.values == 0, ErrorCode::kCorruptData, where,
          ": got rows of ", read.tensor.shape.back(), " values, expected a multiple of ",
          block.values, " in ", GgufName(read.tensor.dtype));
  Require(!__builtin_mul_overflow(count / block.values, block.bytes, &read.bytes),
          ErrorCode::kCorruptData, where, ": got ", count, " values, which no file holds");
  read.offset = cursor.Number<uint64_t>(where);
  return read;
}

uint64_t Padded(uint64_t at, uint64_t alignment) {
  return (at + alignment - 1) / alignment * alignment;
}

// Finds the tensors' bytes in the data. They lie in the order in which the head names them.
void PlaceTensors(std::vector<TensorInfo>& infos, std::span<const std::byte> data,
                  uint64_t alignment, const std::string& source) {
  std::set<std::string_view> names;
  uint64_t end = 0;
  for (TensorInfo& info : infos) {
    const std::string where = Message(source, ": ", Quoted(info.tensor.name));
    Require(names.insert(info.tensor.name).second, ErrorCode::kCorruptData, where,
            ": the tensor stands twice");
    const uint64_t expected = Padded(end, alignment);
    Require(info.offset == expected, ErrorCode::kCorruptData, where, ": offset: got ", info.offset,
            ", expected ", expected, ", behind the tensor before it");
    const auto bytes = static_cast<uint64_t>(info.bytes);
    Require(info.offset <= data.size() && bytes <= data.size() - info.offset,
            ErrorCode::kCorruptData, where, ": got ", bytes, " bytes at ", info.offset,
            " of the data, expected an end within its ", data.size(), " bytes");
    end = info.offset + bytes;
    info.tensor.bytes = data.subspan(info.offset, bytes);
  }
}

}  // namespace

uint32_t GgufNumber(DType dtype) {
  for (const NumberedType& known : kTensorTypes) {
    if (known.dtype == dtype) return known.number;
  }
  Throw(ErrorCode::kInternal, "dtype: got ", Name(dtype), ", expected one that GGUF has");
}

std::string_view GgufName(DType dtype) {
  for (const NumberedType& known : kTensorTypes) {
    if (known.dtype == dtype) return known.name;
  }
  Throw(ErrorCode::kInternal, "dtype: got ", Name(dtype), ", expected one that GGUF has");
}

Gguf::Gguf(std::span<const std::byte> file, std::string source) : source_(std::move(source)) {
  Cursor cursor(file, source_);
  Require(StartsAsGguf(file), ErrorCode::kCorruptData, source_,
          ": expected a GGUF file, which begins with \"GGUF\"");
  cursor.Take(kGgufMagic.size(), "magic");
  const auto version = cursor.Number<uint32_t>("version");
  Require(version == 2 || version == 3, ErrorCode::kUnsupported, source_, ": version: got ",
          version, (version & 0xffff) == 0 ? " (big-endian)" : "",
          ", expected 2 or 3, little-endian");
  const uint64_t tensors = cursor.Count(kLeastTensorBytes, "number of tensors");
  const uint64_t values = cursor.Count(kLeastValueBytes, "number of keys");
  for (uint64_t i = 0; i < values; ++i) {
    const std::string_view key = cursor.String("a key");
    const std::string where = Message(source_, ": ", Excerpt(key));
    Require(!key.empty() && std::ssize(key) <= kMaxNameBytes, ErrorCode::kCorruptData, where,
            ": got a key of ", key.size(), " bytes, expected 1 to ", kMaxNameBytes);
    Require(values_.emplace(key, ReadValue(cursor, file, where)).second, ErrorCode::kCorruptData,
            where, ": the key stands twice");
  }
  std::vector<TensorInfo> infos;
  for (uint64_t i = 0; i < tensors; ++i) infos.push_back(ReadTensorInfo(cursor, source_));
  uint64_t alignment = 32;
  if (Has(kAlignmentKey)) {
    alignment = static_cast<uint64_t>(Int(kAlignmentKey, 1, int64_t{1} << 20));
    if (!std::has_single_bit(alignment)) Fail(kAlignmentKey, "a power of two");
  }
  const size_t begin = std::min<size_t>(Padded(cursor.at(), alignment), file.size());
  PlaceTensors(infos, file.subspan(begin), alignment, source_);
  for (TensorInfo& info : infos) tensors_.push_back(std::move(info.tensor));
}

}  // namespace pith
