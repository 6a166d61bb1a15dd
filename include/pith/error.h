// Errors that pith throws. The library never prints, exits or aborts on input.
#ifndef PITH_ERROR_H_
#define PITH_ERROR_H_

#include <stdexcept>
#include <string>

namespace pith {

enum class ErrorCode {
  kInvalidArgument,  // a value that the caller gave: option, reduction, token id
  kNotFound,         // a file, tensor or name that does not exist
  kIo,               // reading or writing failed
  kCorruptData,      // a file whose content contradicts itself or its format
  kUnsupported,      // valid input that pith does not implement; the message names it
  kCancelled,        // the caller's cancel flag was raised
  kInternal,         // a bug in pith: a named check that failed
};

// The message names, where they exist, the file, the field, the value and what was expected.
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace pith

#endif  // PITH_ERROR_H_
