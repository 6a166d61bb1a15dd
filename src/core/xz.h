// Data files of text, compressed or not.
#ifndef PITH_CORE_XZ_H_
#define PITH_CORE_XZ_H_

#include <cstdint>
#include <filesystem>
#include <string>

namespace pith {

// Reads a whole text file, unpacking it where its name ends in ".xz", less a byte-order mark.
// Throws kNotFound or kIo, and kCorruptData for a damaged file or one that unpacks to more than
// `max_bytes`.
std::string ReadDataFile(const std::filesystem::path& path, int64_t max_bytes = int64_t{1} << 30);

}  // namespace pith

#endif  // PITH_CORE_XZ_H_
