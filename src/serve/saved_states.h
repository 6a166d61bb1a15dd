// States of texts that clients save under names, in one directory: a file each
// (docs/formats/state.md).
#ifndef PITH_SERVE_SAVED_STATES_H_
#define PITH_SERVE_SAVED_STATES_H_

#include <cstdint>
#include <filesystem>
#include <string>

#include "core/json.h"

namespace pith::serve {

// All names are such as IsStateName takes, so no file but one of the directory is reached. Calls
// may come from any thread.
class SavedStates {
 public:
  // An empty directory: no states are saved. Throws kIo where it is none that can be read.
  SavedStates(std::filesystem::path directory, int64_t most_bytes);

  // The state's file. Throw StatusError: 400 where none are saved, 404 where there is none of this
  // name, 507 where those that are there take most_bytes or more.
  std::filesystem::path ToLoad(const std::string& name) const;
  std::filesystem::path ToSave(const std::string& name) const;
  void Remove(const std::string& name) const;
  // Names, bytes and times of the last change.
  OrderedJson List() const;
  // An error's message for clients, who need not know where the directory is.
  std::string WithoutDirectory(std::string message) const;

 private:
  void RequireDirectory() const;
  std::filesystem::path FileOf(const std::string& name) const;

  const std::filesystem::path directory_;
  const int64_t most_bytes_;
};

}  // namespace pith::serve

#endif  // PITH_SERVE_SAVED_STATES_H_
