// libFuzzer entry: any bytes as a GGUF file, its keys as a config and as a tokenizer. What loads
// must lie inside the input.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>

#include "core/gguf.h"
#include "load/config_gguf.h"
#include "pith/error.h"
#include "tokenize/tokenizer_gguf.h"

namespace {

template <class Read>
void Try(Read read) {
  try {
    read();
  } catch (const pith::Error& error) {
    if (error.code() == pith::ErrorCode::kInternal) std::abort();
  }
}

void CheckInside(std::span<const std::byte> part, std::span<const std::byte> file) {
  if (part.empty()) return;
  if (part.data() < file.data() || part.data() + part.size() > file.data() + file.size()) {
    std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const std::byte> file = std::as_bytes(std::span(data, size));
  Try([&] {
    const pith::Gguf gguf(file, "fuzz");
    for (const auto& [key, value] : gguf.values()) {
      CheckInside(value.bytes, file);
      gguf.Shown(key);
    }
    for (const pith::GgufTensor& tensor : gguf.tensors()) CheckInside(tensor.bytes, file);
    Try([&] { pith::ReadGgufConfig(gguf); });
    Try([&] { pith::ReadGgufTokenizer(gguf); });
  });
  return 0;
}
