#include "load/safetensors.h"

#include <algorithm>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/json.h"

namespace pith {
namespace {

constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the format's own limit
constexpr int64_t kMaxInt = int64_t{1} << 62;

struct Range {
  int64_t begin = 0;
  int64_t end = 0;
  std::string_view name;
};

std::vector<int64_t> IntArray(const JsonReader& entry, const char* field) {
  const Json& array = entry.Field(field);
  if (!array.is_array() || array.size() > 16) entry.Fail(field, "an array of up to 16 integers");
  std::vector<int64_t> values;
  for (const Json& value : array) {
    if (!value.is_number_integer() || value < 0 || value > kMaxInt) {
      entry.Fail(field, "integers from 0 to 2^62");
    }
    values.push_back(value.get<int64_t>());
  }
  return values;
}

// One entry of the header: {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}.
StoredTensor ReadEntry(const JsonReader& entry, const std::string& where,
                       std::span<const std::byte> data, Range& range) {
  StoredTensor tensor;
  tensor.dtype_name = entry.String("dtype");
  tensor.dtype = WeightDType(tensor.dtype_name);
  tensor.shape = IntArray(entry, "shape");
  const std::vector<int64_t> offsets = IntArray(entry, "data_offsets");
  if (offsets.size() != 2 || offsets[0] > offsets[1]) {
    entry.Fail("data_offsets", "a pair [begin, end], begin <= end");
  }
  if (offsets[1] > static_cast<int64_t>(data.size())) {
    entry.Fail("data_offsets", StrCat("an end within the data, ", data.size(), " bytes"));
  }
  const auto width = ElementBytes(tensor.dtype_name);
  Require(width.has_value(), ErrorCode::kUnsupported, where, ": got dtype ",
          Quoted(tensor.dtype_name), ", expected F32, F16 or BF16");
  int64_t bytes = *width;
  const auto count = ElementCount(tensor.shape);
  const bool fits = count && !__builtin_mul_overflow(bytes, *count, &bytes);
  Require(fits && bytes == offsets[1] - offsets[0], ErrorCode::kCorruptData, where, ": got ",
          offsets[1] - offsets[0], " bytes, expected those of shape ", ShapeText(tensor.shape),
          " in ", tensor.dtype_name);
  range.begin = offsets[0];
  range.end = offsets[1];
  tensor.bytes = data.subspan(range.begin, bytes);
  return tensor;
}

void RequireExactCover(std::vector<Range>& ranges, int64_t size, const std::string& source) {
  std::ranges::sort(ranges, [](const Range& a, const Range& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  int64_t end = 0;
  for (const Range& range : ranges) {
    Require(range.begin == end, ErrorCode::kCorruptData, source, ": ", Quoted(range.name),
            ": data_offsets: got a tensor that begins at ", range.begin, ", expected ", end,
            range.begin < end ? " (it overlaps another tensor)" : " (a hole in the data)");
    end = range.end;
  }
  Require(end == size, ErrorCode::kCorruptData, source, ": got ", size,
          " bytes of data, expected the ", end, " that the header describes");
}

std::string_view Header(std::span<const std::byte> file, const std::string& source) {
  Require(file.size() >= 8, ErrorCode::kCorruptData, source, ": got ", file.size(),
          " bytes, expected a safetensors file");
  const uint64_t length = ReadLittle<uint64_t>(file, 0);
  Require(length <= kMaxHeaderBytes, ErrorCode::kCorruptData, source, ": got a header of ", length,
          " bytes, expected at most ", kMaxHeaderBytes);
  Require(length <= file.size() - 8, ErrorCode::kCorruptData, source, ": got a header of ", length,
          " bytes, expected at most the ", file.size() - 8, " left in the file");
  return {reinterpret_cast<const char*>(file.data()) + 8, static_cast<size_t>(length)};
}

}  // namespace

TensorTable ReadSafetensors(std::span<const std::byte> file, const std::string& source) {
  const std::string_view header = Header(file, source);
  Require(header.starts_with("{"), ErrorCode::kCorruptData, source,
          ": the header must begin with '{'; this is not a safetensors file");
  const std::span<const std::byte> data = file.subspan(8 + header.size());
  const Json json = ParseJson(header, source, 8);
  TensorTable table;
  std::vector<Range> ranges;
  for (const auto& [name, value] : json.items()) {
    if (name == "__metadata__") continue;
    const std::string where = StrCat(source, ": ", Quoted(name));
    ranges.push_back({.begin = 0, .end = 0, .name = name});
    StoredTensor tensor = ReadEntry(JsonReader(value, where), where, data, ranges.back());
    tensor.file = source;
    table.emplace(name, std::move(tensor));
  }
  RequireExactCover(ranges, static_cast<int64_t>(data.size()), source);
  return table;
}

}  // namespace pith
