// libFuzzer entry: any bytes as a pytorch_model.bin. What loads must lie inside the input.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "load/torch_bin.h"
#include "pith/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const std::byte> file = std::as_bytes(std::span(data, size));
  try {
    for (const auto& [name, tensor] : pith::ReadTorchBin(file, "fuzz")) {
      if (tensor.bytes.empty()) continue;
      if (tensor.bytes.data() < file.data() ||
          tensor.bytes.data() + tensor.bytes.size() > file.data() + file.size()) {
        std::abort();
      }
    }
  } catch (const pith::Error& error) {
    if (error.code() == pith::ErrorCode::kInternal) std::abort();
  }
  return 0;
}
