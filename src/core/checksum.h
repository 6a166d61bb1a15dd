// CRC-64 (ECMA-182, as in .xz files) over pieces of bytes.
#ifndef PITH_CORE_CHECKSUM_H_
#define PITH_CORE_CHECKSUM_H_

#include <cstddef>
#include <cstdint>
#include <span>

namespace pith {

class Checksum {
 public:
  void Add(std::span<const std::byte> bytes);
  uint64_t value() const { return value_; }

 private:
  uint64_t value_ = 0;
};

}  // namespace pith

#endif  // PITH_CORE_CHECKSUM_H_
