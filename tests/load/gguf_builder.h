// Builds GGUF files byte by byte, so that tests can also build wrong ones. Written from the
// format's description, not from the code under test.
#ifndef PITH_TESTS_LOAD_GGUF_BUILDER_H_
#define PITH_TESTS_LOAD_GGUF_BUILDER_H_

#include <bit>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pith::testing {

template <class T>
std::string LittleBytes(T value) {
  std::string bytes;
  for (size_t i = 0; i < sizeof(T); ++i) bytes += static_cast<char>(value >> (8 * i) & 0xff);
  return bytes;
}

inline std::string GgufString(std::string_view text) {
  return LittleBytes<uint64_t>(text.size()) + std::string(text);
}

// Values: the number of their type, then their bytes.
inline std::string GgufUint32(uint32_t value) {
  return LittleBytes<uint32_t>(4) + LittleBytes(value);
}
inline std::string GgufFloat32(float value) {
  return LittleBytes<uint32_t>(6) + LittleBytes(std::bit_cast<uint32_t>(value));
}
inline std::string GgufBool(bool value) {
  return LittleBytes<uint32_t>(7) + std::string(1, value ? '\1' : '\0');
}
inline std::string GgufText(std::string_view text) {
  return LittleBytes<uint32_t>(8) + GgufString(text);
}
inline std::string GgufTexts(const std::vector<std::string>& texts) {
  std::string bytes =
      LittleBytes<uint32_t>(9) + LittleBytes<uint32_t>(8) + LittleBytes<uint64_t>(texts.size());
  for (const std::string& text : texts) bytes += GgufString(text);
  return bytes;
}
inline std::string GgufInts(const std::vector<int32_t>& values) {
  std::string bytes =
      LittleBytes<uint32_t>(9) + LittleBytes<uint32_t>(5) + LittleBytes<uint64_t>(values.size());
  for (const int32_t value : values) bytes += LittleBytes(static_cast<uint32_t>(value));
  return bytes;
}

inline std::string GgufFloats(const std::vector<float>& values) {
  std::string bytes =
      LittleBytes<uint32_t>(9) + LittleBytes<uint32_t>(6) + LittleBytes<uint64_t>(values.size());
  for (const float value : values) bytes += LittleBytes(std::bit_cast<uint32_t>(value));
  return bytes;
}

struct GgufTestTensor {
  std::string name;
  std::vector<uint64_t> dims;  // the innermost first, as in the file
  uint32_t type = 0;           // F32
  std::string bytes;
  uint64_t offset = UINT64_MAX;  // this value: where it lies
};

struct GgufTestFile {
  std::string magic = "GGUF";
  uint32_t version = 3;
  uint64_t alignment = 32;
  std::vector<std::pair<std::string, std::string>> keys;  // and values
  std::vector<GgufTestTensor> tensors;
  uint64_t key_count = UINT64_MAX;     // this value: as many as there are
  uint64_t tensor_count = UINT64_MAX;  // the same

  void Set(const std::string& key, std::string value) {
    for (auto& [known, old] : keys) {
      if (known != key) continue;
      old = std::move(value);
      return;
    }
    keys.emplace_back(key, std::move(value));
  }
  void Remove(const std::string& key) {
    std::erase_if(keys, [&](const auto& item) { return item.first == key; });
  }
  GgufTestTensor& Find(std::string_view name) {
    for (GgufTestTensor& tensor : tensors) {
      if (tensor.name == name) return tensor;
    }
    return tensors.emplace_back();
  }

  std::string Bytes() const {
    const auto count = [](uint64_t said, size_t is) { return said == UINT64_MAX ? is : said; };
    std::string file = magic + LittleBytes(version) +
                       LittleBytes<uint64_t>(count(tensor_count, tensors.size())) +
                       LittleBytes<uint64_t>(count(key_count, keys.size()));
    for (const auto& [key, value] : keys) file += GgufString(key) + value;
    std::string data;
    for (const GgufTestTensor& tensor : tensors) {
      data.resize((data.size() + alignment - 1) / alignment * alignment, '\0');
      file += GgufString(tensor.name) + LittleBytes(static_cast<uint32_t>(tensor.dims.size()));
      for (const uint64_t size : tensor.dims) file += LittleBytes(size);
      file += LittleBytes(tensor.type) +
              LittleBytes<uint64_t>(tensor.offset == UINT64_MAX ? data.size() : tensor.offset);
      data += tensor.bytes;
    }
    file.resize((file.size() + alignment - 1) / alignment * alignment, '\0');
    return file + data;
  }
};

}  // namespace pith::testing

#endif  // PITH_TESTS_LOAD_GGUF_BUILDER_H_
