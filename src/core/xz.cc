#include "core/xz.h"

#include <lzma.h>

#include <algorithm>

#include "core/error.h"
#include "core/file.h"

namespace pith {
namespace {

constexpr uint64_t kMemoryLimit = uint64_t{256} << 20;

std::string Unpack(const MappedFile& file, int64_t max_bytes) {
  const std::string name = file.path().string();
  lzma_stream stream = LZMA_STREAM_INIT;
  PITH_CHECK(lzma_stream_decoder(&stream, kMemoryLimit, LZMA_CONCATENATED) == LZMA_OK);
  stream.next_in = reinterpret_cast<const uint8_t*>(file.bytes().data());
  stream.avail_in = file.bytes().size();
  std::string out;
  lzma_ret status = LZMA_OK;
  while (status == LZMA_OK && static_cast<int64_t>(out.size()) <= max_bytes) {
    const size_t begin = out.size();
    out.resize(begin + std::max<size_t>(begin, size_t{1} << 16));
    stream.next_out = reinterpret_cast<uint8_t*>(out.data()) + begin;
    stream.avail_out = out.size() - begin;
    status = lzma_code(&stream, LZMA_FINISH);
    out.resize(out.size() - stream.avail_out);
  }
  lzma_end(&stream);
  Require(static_cast<int64_t>(out.size()) <= max_bytes, ErrorCode::kCorruptData, name,
          ": unpacks to more than ", max_bytes, " bytes");
  Require(status == LZMA_STREAM_END, ErrorCode::kCorruptData, name,
          ": damaged xz file (liblzma status ", static_cast<int>(status), ")");
  return out;
}

}  // namespace

std::string ReadDataFile(const std::filesystem::path& path, int64_t max_bytes) {
  if (path.extension() != ".xz") return ReadTextFile(path, max_bytes);
  return WithoutByteOrderMark(Unpack(MappedFile(path), max_bytes), path.string());
}

}  // namespace pith
