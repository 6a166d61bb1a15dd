#include "core/notes.h"

#include <utility>

namespace pith {
namespace {

std::function<void(const std::string&)>& Listener() {
  static std::function<void(const std::string&)> listener;
  return listener;
}

}  // namespace

void ListenToNotes(std::function<void(const std::string&)> listener) {
  Listener() = std::move(listener);
}

void Note(const std::string& message) {
  if (Listener()) Listener()(message);
}

}  // namespace pith
