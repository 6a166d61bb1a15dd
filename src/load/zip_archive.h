// Reader of zip archives whose members are stored, not compressed, so that they can be used in
// place in a mapping. This also rules out archives that unpack to more than their own size.
#ifndef PITH_LOAD_ZIP_ARCHIVE_H_
#define PITH_LOAD_ZIP_ARCHIVE_H_

#include <cstddef>
#include <map>
#include <span>
#include <string>

namespace pith {

// Member name -> its bytes, which point into the archive.
using ZipMembers = std::map<std::string, std::span<const std::byte>, std::less<>>;

// `file` is a whole archive (zip or zip64) and must outlive the result. Throws kCorruptData, and
// kUnsupported for compressed, encrypted or multi-disk archives. CRCs are not verified: torch can
// be told not to compute them, and reading every byte would undo the point of mapping.
ZipMembers ReadZipDirectory(std::span<const std::byte> file, const std::string& source);

}  // namespace pith

#endif  // PITH_LOAD_ZIP_ARCHIVE_H_
