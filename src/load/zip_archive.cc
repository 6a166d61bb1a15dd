// Field offsets are those of PKWARE's APPNOTE.TXT, sections 4.3.7 to 4.3.16.
#include "load/zip_archive.h"

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.h"
#include "load/stored_tensor.h"

namespace pith {
namespace {

using Bytes = std::span<const std::byte>;

constexpr uint32_t kLocalSignature = 0x04034b50;
constexpr uint32_t kCentralSignature = 0x02014b50;
constexpr uint32_t kEndSignature = 0x06054b50;
constexpr uint32_t kEnd64Signature = 0x06064b50;
constexpr uint32_t kLocator64Signature = 0x07064b50;
constexpr size_t kLocalSize = 30;
constexpr size_t kCentralSize = 46;
constexpr size_t kEndSize = 22;
constexpr size_t kEnd64Size = 56;
constexpr size_t kLocator64Size = 20;
constexpr uint16_t kEncrypted = 1;
constexpr uint16_t kSizesFollow = 8;  // the local header holds no sizes

struct Directory {
  uint64_t offset = 0;
  uint64_t size = 0;
  uint64_t entries = 0;
};

struct Member {
  std::string name;
  uint16_t flags = 0;
  uint64_t size = 0;
  uint64_t local_offset = 0;
  uint64_t end = 0;  // where the data end
};

class ZipReader {
 public:
  ZipReader(Bytes file, const std::string& source) : file_(file), source_(source) {}

  ZipMembers Read() {
    const Directory directory = FindDirectory();
    Check(directory.offset <= file_.size() && directory.size <= file_.size() - directory.offset,
          "the central directory lies outside of the file");
    Check(directory.entries <= directory.size / kCentralSize, "more entries than directory");
    const Bytes central = file_.subspan(directory.offset, directory.size);
    ZipMembers members;
    std::vector<Member> order;
    size_t at = 0;
    for (uint64_t i = 0; i < directory.entries; ++i) {
      Member member = ReadCentral(central, at);
      const Bytes data = LocateData(member, directory.offset);
      Check(members.emplace(member.name, data).second, "two members ", Quoted(member.name));
      order.push_back(std::move(member));
    }
    Check(at == directory.size, "bytes behind the last entry of the central directory");
    CheckNoOverlap(order);
    return members;
  }

 private:
  template <class... Parts>
  void Check(bool ok, const Parts&... parts) const {
    if (!ok) Throw(ErrorCode::kCorruptData, source_, ": damaged zip archive: ", parts...);
  }

  // The end record is the last thing in the file but for a comment of up to 65,535 bytes.
  size_t FindEnd() const {
    Check(file_.size() >= kEndSize, "too short");
    const size_t last = file_.size() - kEndSize;
    const size_t first = last > 0xffff ? last - 0xffff : 0;
    for (size_t at = last + 1; at-- > first;) {
      if (ReadLittle<uint32_t>(file_, at) != kEndSignature) continue;
      if (ReadLittle<uint16_t>(file_, at + 20) == last - at) return at;
    }
    Throw(ErrorCode::kCorruptData, source_, ": damaged zip archive: no end record (truncated?)");
  }

  Directory FindDirectory() const {
    const size_t end = FindEnd();
    Require(ReadLittle<uint16_t>(file_, end + 4) == 0 && ReadLittle<uint16_t>(file_, end + 6) == 0,
            ErrorCode::kUnsupported, source_, ": zip archive of several disks");
    if (end >= kLocator64Size &&
        ReadLittle<uint32_t>(file_, end - kLocator64Size) == kLocator64Signature) {
      return FindDirectory64(end - kLocator64Size);
    }
    const Directory directory{.offset = ReadLittle<uint32_t>(file_, end + 16),
                              .size = ReadLittle<uint32_t>(file_, end + 12),
                              .entries = ReadLittle<uint16_t>(file_, end + 10)};
    Check(directory.offset <= end && directory.size <= end - directory.offset,
          "the central directory lies outside of the file");
    return directory;
  }

  Directory FindDirectory64(size_t locator) const {
    const uint64_t at = ReadLittle<uint64_t>(file_, locator + 8);
    Check(locator >= kEnd64Size && at <= locator - kEnd64Size, "the zip64 record is out of range");
    Check(ReadLittle<uint32_t>(file_, at) == kEnd64Signature, "no zip64 record at its offset");
    const Directory directory{.offset = ReadLittle<uint64_t>(file_, at + 48),
                              .size = ReadLittle<uint64_t>(file_, at + 40),
                              .entries = ReadLittle<uint64_t>(file_, at + 32)};
    Check(directory.offset <= at && directory.size <= at - directory.offset,
          "the central directory lies outside of the file");
    return directory;
  }

  Member ReadCentral(Bytes central, size_t& at) const {
    Check(at <= central.size() && central.size() - at >= kCentralSize, "directory entry cut short");
    Check(ReadLittle<uint32_t>(central, at) == kCentralSignature, "bad directory entry");
    const size_t name_size = ReadLittle<uint16_t>(central, at + 28);
    const size_t extra_size = ReadLittle<uint16_t>(central, at + 30);
    const size_t comment_size = ReadLittle<uint16_t>(central, at + 32);
    const size_t size = kCentralSize + name_size + extra_size + comment_size;
    Check(size <= central.size() - at, "directory entry cut short");
    Member member;
    member.name = Text(central.subspan(at + kCentralSize, name_size));
    member.flags = ReadLittle<uint16_t>(central, at + 8);
    const uint16_t method = ReadLittle<uint16_t>(central, at + 10);
    uint64_t compressed = ReadLittle<uint32_t>(central, at + 20);
    member.size = ReadLittle<uint32_t>(central, at + 24);
    member.local_offset = ReadLittle<uint32_t>(central, at + 42);
    ApplyZip64(central.subspan(at + kCentralSize + name_size, extra_size),
               {&member.size, &compressed, &member.local_offset});
    Require((member.flags & kEncrypted) == 0, ErrorCode::kUnsupported, source_, ": zip member ",
            Quoted(member.name), " is encrypted");
    Require(method == 0, ErrorCode::kUnsupported, source_, ": zip member ", Quoted(member.name),
            " is compressed (method ", method, "), expected stored");
    Check(compressed == member.size, Quoted(member.name), ": two sizes for one stored member");
    at += size;
    return member;
  }

  // Extra field 1 holds, in this order, those of the three values whose 32 bits are all ones.
  void ApplyZip64(Bytes extra, std::initializer_list<uint64_t*> values) const {
    while (extra.size() >= 4) {
      const uint16_t id = ReadLittle<uint16_t>(extra, 0);
      const size_t size = ReadLittle<uint16_t>(extra, 2);
      Check(size <= extra.size() - 4, "extra field cut short");
      const Bytes body = extra.subspan(4, size);
      extra = extra.subspan(4 + size);
      if (id != 1) continue;
      size_t at = 0;
      for (uint64_t* value : values) {
        if (*value != 0xffffffffu) continue;
        Check(body.size() - at >= 8, "zip64 field cut short");
        *value = ReadLittle<uint64_t>(body, at);
        at += 8;
      }
      return;
    }
  }

  // The local header must tell the same as the directory, else two readers could see two archives.
  Bytes LocateData(Member& member, uint64_t limit) const {
    const std::string name = Quoted(member.name);
    const uint64_t at = member.local_offset;
    Check(at <= limit && limit - at >= kLocalSize, name, ": its header is out of range");
    Check(ReadLittle<uint32_t>(file_, at) == kLocalSignature, name, ": no header at its offset");
    const size_t name_size = ReadLittle<uint16_t>(file_, at + 26);
    const size_t extra_size = ReadLittle<uint16_t>(file_, at + 28);
    const uint64_t room = limit - at - kLocalSize;
    Check(name_size + extra_size <= room && member.size <= room - name_size - extra_size, name,
          ": its data are out of range");
    Check(Text(file_.subspan(at + kLocalSize, name_size)) == member.name &&
              ReadLittle<uint16_t>(file_, at + 8) == 0 &&
              ReadLittle<uint16_t>(file_, at + 6) == member.flags,
          name, ": its header contradicts the directory");
    uint64_t compressed = ReadLittle<uint32_t>(file_, at + 18);
    uint64_t size = ReadLittle<uint32_t>(file_, at + 22);
    ApplyZip64(file_.subspan(at + kLocalSize + name_size, extra_size), {&size, &compressed});
    const bool absent = (member.flags & kSizesFollow) != 0 && (size == 0 || size == 0xffffffffu);
    Check(absent || (size == member.size && compressed == member.size), name,
          ": its header contradicts the directory in size");
    const uint64_t begin = at + kLocalSize + name_size + extra_size;
    member.end = begin + member.size;
    return file_.subspan(begin, member.size);
  }

  void CheckNoOverlap(std::vector<Member>& order) const {
    std::ranges::sort(order, {}, &Member::local_offset);
    for (size_t i = 1; i < order.size(); ++i) {
      Check(order[i - 1].end <= order[i].local_offset, Quoted(order[i - 1].name), " and ",
            Quoted(order[i].name), " overlap");
    }
  }

  static std::string Text(Bytes bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  Bytes file_;
  const std::string& source_;
};

}  // namespace

ZipMembers ReadZipDirectory(std::span<const std::byte> file, const std::string& source) {
  return ZipReader(file, source).Read();
}

}  // namespace pith
