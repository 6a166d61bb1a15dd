// Helpers to build and throw pith::Error.
#ifndef PITH_CORE_ERROR_H_
#define PITH_CORE_ERROR_H_

#include <sstream>
#include <string>

#include "pith/error.h"

namespace pith {

// Concatenates anything that can be streamed.
template <class... Parts>
std::string StrCat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

template <class... Parts>
[[noreturn]] void Throw(ErrorCode code, const Parts&... parts) {
  throw Error(code, StrCat(parts...));
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
