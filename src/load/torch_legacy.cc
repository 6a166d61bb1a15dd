#include "load/torch_legacy.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "core/error.h"
#include "load/stored_tensor.h"
#include "load/torch_objects.h"
#include "load/torch_pickle.h"

namespace pith {
namespace {

// The end of the first pickle, which holds the number 0x1950a86a20f9469cfc6c. Before it stand the
// protocol and, from protocol 4 on, a frame's length.
constexpr std::string_view kMagic = "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
constexpr size_t kMaxBeforeMagic = 2 + 9;
constexpr int64_t kVersion = 1001;

class LegacyReader {
 public:
  LegacyReader(std::span<const std::byte> file, const std::string& source)
      : rest_(file), source_(source) {}

  LegacyTorchFile Read() {
    Next();  // the magic number
    Unpickled version = Next();
    Check(version.values.As<int64_t>(version.root, "a version") == kVersion, "unknown version");
    RequireLittleEndian(Next());
    Unpickled object = Next();
    LegacyTorchFile result;
    result.tensors = pickle::StateDictTensors(object.values, object.root);
    // Of the storages only those that tensors use can be read past: the file says how many elements
    // each has, and the tensors of which type.
    Unpickled keys = Next();
    const auto widths = Widths(object.values);
    for (const pickle::Id id : keys.values.As<pickle::List>(keys.root, "a list of keys").items) {
      const std::string& key = keys.values.As<std::string>(id, "a storage's key");
      const auto width = widths.find(key);
      Check(width != widths.end(), "a storage ", Quoted(key), " that no tensor names");
      Check(result.storages.emplace(key, Storage(key, width->second)).second, "two storages ",
            Quoted(key));
    }
    Check(rest_.empty(), "bytes behind the last storage");
    return result;
  }

 private:
  template <class... Parts>
  void Check(bool ok, const Parts&... parts) const {
    if (!ok) Throw(ErrorCode::kCorruptData, source_, ": damaged torch file: ", parts...);
  }

  Unpickled Next() {
    Unpickled result = RunPickle(rest_, source_);
    rest_ = rest_.subspan(result.size);
    return result;
  }

  void RequireLittleEndian(Unpickled facts) const {
    for (const auto& [key, value] :
         facts.values.As<pickle::Dict>(facts.root, "a dict of facts").items) {
      const std::string* name = facts.values.Get<std::string>(key);
      if (name == nullptr || *name != "little_endian") continue;
      Require(facts.values.As<bool>(value, "a truth value"), ErrorCode::kUnsupported, source_,
              ": got a file of a big-endian machine, expected little-endian");
    }
  }

  // Bytes of an element, by a storage's key: of all storages that the object names.
  std::map<std::string, int64_t, std::less<>> Widths(pickle::Values& values) const {
    std::map<std::string, int64_t, std::less<>> widths;
    for (pickle::Id id = 0; id < values.size(); ++id) {
      const pickle::Storage* storage = values.Get<pickle::Storage>(id);
      if (storage == nullptr) continue;
      const int64_t width = *ElementBytes(storage->dtype_name);
      const auto [it, added] = widths.emplace(storage->key, width);
      Check(added || it->second == width, "two types for storage ", Quoted(storage->key));
    }
    return widths;
  }

  std::span<const std::byte> Storage(std::string_view key, int64_t width) {
    Check(rest_.size() >= sizeof(uint64_t), "storage ", Quoted(key), " is cut short");
    const uint64_t elements = ReadLittle<uint64_t>(rest_, 0);
    rest_ = rest_.subspan(sizeof(uint64_t));
    Check(elements <= rest_.size() / width, "storage ", Quoted(key), " of ", elements,
          " elements is cut short");
    const auto bytes = rest_.first(elements * width);
    rest_ = rest_.subspan(bytes.size());
    return bytes;
  }

  std::span<const std::byte> rest_;
  const std::string& source_;
};

}  // namespace

bool IsLegacyTorchFile(std::span<const std::byte> file) {
  const auto begin = file.first(std::min(file.size(), kMaxBeforeMagic + kMagic.size()));
  const std::string_view text(reinterpret_cast<const char*>(begin.data()), begin.size());
  return text.starts_with('\x80') && text.find(kMagic) != text.npos;
}

LegacyTorchFile ReadLegacyTorchFile(std::span<const std::byte> file, const std::string& source) {
  return LegacyReader(file, source).Read();
}

}  // namespace pith
