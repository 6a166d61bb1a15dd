// Numbers in the bytes of a file.
#ifndef PITH_CORE_BYTES_H_
#define PITH_CORE_BYTES_H_

#include <cstddef>
#include <span>

namespace pith {

// Reads an unsigned little-endian integer of sizeof(T) bytes. The caller has checked the range.
template <class T>
T ReadLittle(std::span<const std::byte> bytes, size_t at) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) {
    value |= static_cast<T>(static_cast<T>(bytes[at + i]) << (8 * i));
  }
  return value;
}

}  // namespace pith

#endif  // PITH_CORE_BYTES_H_
