// What the library would tell a person who asks for more than results and errors.
#ifndef PITH_CORE_NOTES_H_
#define PITH_CORE_NOTES_H_

#include <functional>
#include <string>

namespace pith {

// Hands every later note of the process to `listener`, from the thread that makes it; an empty one
// ends that. For a program's start: not to be called while others work.
void ListenToNotes(std::function<void(const std::string&)> listener);

// Without a listener this does nothing.
void Note(const std::string& message);

}  // namespace pith

#endif  // PITH_CORE_NOTES_H_
