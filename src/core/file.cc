#include "core/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/error.h"
#include "core/notes.h"

namespace pith {
namespace {

[[noreturn]] void ThrowErrno(const std::filesystem::path& path, const char* action) {
  const int error = errno;
  Throw(error == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo, path.string(), ": cannot ", action,
        ": ", std::strerror(error));
}

// A file open for reading; closes on scope exit.
class FileDescriptor {
 public:
  explicit FileDescriptor(const std::filesystem::path& path)
      : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (fd_ < 0) ThrowErrno(path, "open");
  }
  ~FileDescriptor() { ::close(fd_); }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

size_t RegularFileSize(const FileDescriptor& file, const std::filesystem::path& path) {
  struct stat info;
  if (::fstat(file.get(), &info) != 0) ThrowErrno(path, "stat");
  Require(S_ISREG(info.st_mode), ErrorCode::kIo, path.string(), ": not a regular file");
  return static_cast<size_t>(info.st_size);
}

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path) {
  const FileDescriptor file(path);
  size_ = RegularFileSize(file, path);
  if (size_ == 0) return;
  void* map = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (map == MAP_FAILED) ThrowErrno(path, "map");
  data_ = static_cast<const std::byte*>(map);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::GiveBack(std::span<const std::byte> part) const {
  if (part.empty() || part.data() < data_ || part.data() + part.size() > data_ + size_) return;
  // Whole pages only: the ends may belong to others too. The file still holds what they held.
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  const size_t begin = (part.data() - data_ + page - 1) / page * page;
  const size_t end = (part.data() - data_ + part.size()) / page * page;
  if (begin < end) {
    ::madvise(const_cast<std::byte*>(data_) + begin, end - begin, MADV_DONTNEED);
  }
}

std::string ReadFile(const std::filesystem::path& path, int64_t max_bytes) {
  const FileDescriptor file(path);
  const size_t size = RegularFileSize(file, path);
  Require(size <= static_cast<size_t>(max_bytes), ErrorCode::kCorruptData, path.string(), ": ",
          size, " bytes, expected at most ", max_bytes);
  std::string text(size, '\0');
  size_t done = 0;
  while (done < size) {
    const ssize_t got = ::read(file.get(), text.data() + done, size - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) ThrowErrno(path, "read");
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  text.resize(done);
  return text;
}

std::string WithoutByteOrderMark(std::string text, std::string_view source) {
  constexpr std::string_view kMark = "\xEF\xBB\xBF";
  if (!text.starts_with(kMark)) return text;
  text.erase(0, kMark.size());
  Note(Message(source, ": skipped the byte-order mark at its start"));
  return text;
}

std::string ReadTextFile(const std::filesystem::path& path, int64_t max_bytes) {
  return WithoutByteOrderMark(ReadFile(path, max_bytes), path.string());
}

AtomicWriter::AtomicWriter(std::filesystem::path path) : path_(std::move(path)) {
  static std::atomic<int> counter{0};
  std::error_code ignored;
  const auto type = std::filesystem::status(path_, ignored).type();
  using enum std::filesystem::file_type;
  // The rename at the end would replace a device by a file.
  Require(type == not_found || type == regular || type == none || type == unknown, ErrorCode::kIo,
          path_.string(), ": cannot write: not a regular file");
  temporary_ = path_;
  temporary_ += StrCat(".tmp.", ::getpid(), ".", counter++);
  fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd_ < 0) ThrowErrno(path_, "create");
}

AtomicWriter::~AtomicWriter() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(temporary_.c_str());
}

void AtomicWriter::Write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t done = ::write(fd_, bytes.data(), bytes.size());
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) ThrowErrno(path_, "write");
    bytes = bytes.subspan(static_cast<size_t>(done));
  }
}

void AtomicWriter::Commit() {
  if (::fsync(fd_) != 0) ThrowErrno(path_, "write");
  const int fd = std::exchange(fd_, -1);
  const bool closed = ::close(fd) == 0;
  if (closed && ::rename(temporary_.c_str(), path_.c_str()) == 0) return;
  const int error = errno;
  ::unlink(temporary_.c_str());
  errno = error;
  ThrowErrno(path_, "write");
}

}  // namespace pith
