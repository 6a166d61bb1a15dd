#include "serve/saved_states.h"

#include <chrono>
#include <system_error>
#include <utility>
#include <vector>

#include "core/error.h"
#include "serve/request.h"
#include "serve/status_error.h"

namespace pith::serve {
namespace {

namespace fs = std::filesystem;

constexpr char kSuffix[] = ".state";

struct SavedState {
  std::string name;
  int64_t bytes = 0;
  int64_t changed = 0;  // seconds since 1970
};

// Files that are written or removed meanwhile are passed over.
std::vector<SavedState> StatesIn(const fs::path& directory) {
  std::vector<SavedState> states;
  std::error_code error;
  for (fs::directory_iterator at(directory, error), end; !error && at != end; at.increment(error)) {
    std::error_code gone;
    const fs::path& path = at->path();
    const std::string name = path.stem().string();
    if (path.extension() != kSuffix || !IsStateName(name)) continue;
    if (!fs::is_regular_file(at->symlink_status(gone))) continue;
    const uintmax_t bytes = at->file_size(gone);
    const fs::file_time_type time = gone ? fs::file_time_type() : at->last_write_time(gone);
    if (gone) continue;
    const auto changed = std::chrono::file_clock::to_sys(time).time_since_epoch();
    states.push_back({name, static_cast<int64_t>(bytes),
                      std::chrono::duration_cast<std::chrono::seconds>(changed).count()});
  }
  Require(!error, ErrorCode::kIo, directory.string(),
          ": cannot read the directory: ", error.message());
  return states;
}

}  // namespace

SavedStates::SavedStates(fs::path directory, int64_t most_bytes)
    : directory_(std::move(directory)), most_bytes_(most_bytes) {
  if (!directory_.empty()) StatesIn(directory_);
}

void SavedStates::RequireDirectory() const {
  if (!directory_.empty()) return;
  throw StatusError{400, "this server saves no states: its option --state-dir says where"};
}

fs::path SavedStates::FileOf(const std::string& name) const {
  RequireDirectory();
  PITH_CHECK(IsStateName(name));
  return directory_ / (name + kSuffix);
}

fs::path SavedStates::ToLoad(const std::string& name) const {
  fs::path file = FileOf(name);
  std::error_code error;
  if (fs::is_regular_file(fs::symlink_status(file, error))) return file;
  throw StatusError{404, StrCat("no saved state \"", name, "\"")};
}

fs::path SavedStates::ToSave(const std::string& name) const {
  fs::path file = FileOf(name);
  int64_t bytes = 0;
  for (const SavedState& state : StatesIn(directory_)) {
    if (state.name != name) bytes += state.bytes;  // its old one is replaced
  }
  if (bytes < most_bytes_) return file;
  throw StatusError{507, StrCat("no room for another state: those that are saved take ", bytes,
                                " bytes of ", most_bytes_)};
}

void SavedStates::Remove(const std::string& name) const {
  const fs::path file = ToLoad(name);
  std::error_code error;
  fs::remove(file, error);
  if (error) throw StatusError{500, Message("cannot remove the state: ", error.message())};
}

OrderedJson SavedStates::List() const {
  RequireDirectory();
  OrderedJson data = OrderedJson::array();
  for (const SavedState& state : StatesIn(directory_)) {
    data.push_back({{"id", state.name},
                    {"object", "state"},
                    {"bytes", state.bytes},
                    {"created", state.changed}});
  }
  return {{"object", "list"}, {"data", data}};
}

std::string SavedStates::WithoutDirectory(std::string message) const {
  const std::string prefix = (directory_ / "").string();
  if (directory_.empty()) return message;
  for (size_t at = message.find(prefix); at != std::string::npos; at = message.find(prefix, at)) {
    message.erase(at, prefix.size());
  }
  return message;
}

}  // namespace pith::serve
