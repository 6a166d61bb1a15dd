// Helpers to build and throw pith::Error.
#ifndef PITH_CORE_ERROR_H_
#define PITH_CORE_ERROR_H_

#include <sstream>
#include <string>
#include <string_view>
#include <type_traits>

#include "core/printable.h"
#include "pith/error.h"

namespace pith {

// Concatenates anything that can be streamed.
template <class... Parts>
std::string StrCat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

// As StrCat, for what people read. A part that is no literal may hold what a file or a command line
// said, so it is made printable, and cut where it is longer than any message of pith's own.
template <class... Parts>
std::string Message(const Parts&... parts) {
  constexpr size_t kLongest = 600;
  const auto shown = []<class Part>(const Part& part) -> decltype(auto) {
    if constexpr (std::is_same_v<Part, char>) {
      return Printable({&part, 1});
    } else if constexpr (std::is_convertible_v<const Part&, std::string_view> &&
                         !std::is_array_v<Part>) {
      return Excerpt(part, kLongest);
    } else {
      return (part);
    }
  };
  return StrCat(shown(parts)...);
}

template <class... Parts>
[[noreturn]] void Throw(ErrorCode code, const Parts&... parts) {
  throw Error(code, Message(parts...));
}

// A user's mistake: throws `code` with the streamed parts unless `ok`.
template <class... Parts>
void Require(bool ok, ErrorCode code, const Parts&... parts) {
  if (!ok) Throw(code, parts...);
}

// A bug: a named check, with its place. Stays on in release builds; never use it for input.
inline void CheckAt(bool ok, const char* name, const char* file, int line) {
  if (!ok) Throw(ErrorCode::kInternal, "internal check failed: ", name, " (", file, ":", line, ")");
}
#define PITH_CHECK(condition) ::pith::CheckAt((condition), #condition, __FILE__, __LINE__)

}  // namespace pith

#endif  // PITH_CORE_ERROR_H_
