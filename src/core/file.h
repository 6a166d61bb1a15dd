// Files: mapped reading, and writing that never leaves a half-written or lost file behind.
#ifndef PITH_CORE_FILE_H_
#define PITH_CORE_FILE_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace pith {

// A read-only mapping of a whole file. Pages are shared with the page cache and cost resident
// memory only once touched.
class MappedFile {
 public:
  // Throws kNotFound or kIo, naming the path.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::filesystem::path& path() const { return path_; }

  // `part` will hardly be read again: its resident pages may go. They come back when it is.
  void GiveBack(std::span<const std::byte> part) const;

 private:
  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// Reads a whole file. Throws kNotFound or kIo, and kCorruptData where it is larger than
// `max_bytes`.
std::string ReadFile(const std::filesystem::path& path, int64_t max_bytes = int64_t{1} << 40);

// `text` less a UTF-8 byte-order mark at its start, of which a note (core/notes.h) names `source`.
std::string WithoutByteOrderMark(std::string text, std::string_view source);

// ReadFile for text: WithoutByteOrderMark.
std::string ReadTextFile(const std::filesystem::path& path, int64_t max_bytes);

// Writes through a temporary file beside `path` and renames it at Commit(), so that `path` is
// either the old file or the whole new one. Without Commit() the destructor removes the temporary.
class AtomicWriter {
 public:
  explicit AtomicWriter(std::filesystem::path path);
  ~AtomicWriter();
  AtomicWriter(const AtomicWriter&) = delete;
  AtomicWriter& operator=(const AtomicWriter&) = delete;

  // Throw kIo, naming the path and the system's reason (a full disk, say).
  void Write(std::span<const std::byte> bytes);
  void Write(std::string_view text) { Write(std::as_bytes(std::span(text))); }
  void Commit();

 private:
  std::filesystem::path path_;
  std::filesystem::path temporary_;
  int fd_ = -1;
};

}  // namespace pith

#endif  // PITH_CORE_FILE_H_
