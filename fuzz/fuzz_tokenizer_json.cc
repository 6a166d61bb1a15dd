// libFuzzer entry: any bytes as a tokenizer.json. What loads must encode, and give valid ids back.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "pith/error.h"
#include "tokenize/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view file(reinterpret_cast<const char*>(data), size);
  try {
    const auto tokenizer = pith::Tokenizer::FromJson(file, "fuzz");
    const auto ids = tokenizer.Encode("Hello,  w\u00f6rld 123!\n\u4e16\u754c <s> \xF0\x9F");
    for (const int32_t id : ids) {
      if (id < 0 || id >= tokenizer.vocab_size()) std::abort();
    }
    tokenizer.Decode(ids);
  } catch (const pith::Error& error) {
    if (error.code() == pith::ErrorCode::kInternal) std::abort();
  }
  return 0;
}
