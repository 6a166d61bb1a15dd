// An answer that is an error and has a status of its own.
#ifndef PITH_SERVE_STATUS_ERROR_H_
#define PITH_SERVE_STATUS_ERROR_H_

#include <string>

namespace pith::serve {

struct StatusError {
  int status;
  std::string message;
};

}  // namespace pith::serve

#endif  // PITH_SERVE_STATUS_ERROR_H_
