#include "core/printable.h"

#include "core/utf8.h"

namespace pith {
namespace {

void AppendEscaped(unsigned char byte, std::string& out) {
  if (byte == '\n') {
    out += "\\n";
  } else if (byte == '\t') {
    out += "\\t";
  } else {
    constexpr char kHex[] = "0123456789ABCDEF";
    out += {'\\', 'x', kHex[byte >> 4], kHex[byte & 15]};
  }
}

// Takes one character, or one subpart that is not UTF-8, off the front of `bytes`.
void AppendShown(std::string_view& bytes, bool keep_newlines, std::string& out) {
  const Utf8Sequence sequence = NextUtf8(bytes);
  const std::string_view part = bytes.substr(0, sequence.length);
  bytes.remove_prefix(sequence.length);
  const bool shown =
      sequence.kind == Utf8Kind::kValid &&
      (!IsUnsafeToShow(DecodeUtf8(part.data()).value) || (keep_newlines && part == "\n"));
  if (shown) {
    out += part;
    return;
  }
  for (const char byte : part) AppendEscaped(static_cast<unsigned char>(byte), out);
}

}  // namespace

bool IsUnsafeToShow(int32_t c) {
  if (c < 0x20 || (c >= 0x7F && c < 0xA0)) return true;
  if (c == 0x061C || c == 0x200E || c == 0x200F) return true;  // marks of direction
  if (c >= 0x2028 && c <= 0x202E) return true;                 // separators, overrides
  return (c >= 0x2066 && c <= 0x2069) || c == 0xFEFF;          // isolates, byte-order mark
}

std::string Printable(std::string_view bytes, bool keep_newlines) {
  std::string out;
  while (!bytes.empty()) AppendShown(bytes, keep_newlines, out);
  return out;
}

std::string Excerpt(std::string_view bytes, size_t most) {
  const size_t size = bytes.size();
  std::string out;
  for (size_t n = 0; n < most && !bytes.empty(); ++n) AppendShown(bytes, false, out);
  if (!bytes.empty()) out += "… (" + std::to_string(size) + " bytes)";
  return out;
}

}  // namespace pith
