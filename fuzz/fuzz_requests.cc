// libFuzzer entry: any bytes as the bodies of the server's requests and as a chat template. Nothing
// but an error may come of them.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "pith/error.h"
#include "serve/chat_template.h"
#include "serve/request.h"

namespace {

template <class Read>
void Try(Read read) {
  try {
    read();
  } catch (const pith::Error& error) {
    if (error.code() == pith::ErrorCode::kInternal) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  Try([&] { pith::serve::ParseCompletion(text); });
  Try([&] { pith::serve::ParseChat(text); });
  Try([&] { pith::serve::ParseTokenize(text); });
  Try([&] { pith::serve::ParseDetokenize(text); });
  Try([&] { pith::serve::ParseReduction(text); });
  // A template that loops has no bound but its author's patience: parsed here, not rendered.
  Try([&] { pith::serve::ChatTemplate(std::string(text), "fuzz", "", ""); });
  return 0;
}
