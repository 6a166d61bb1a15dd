// The HTTP front end: routes, keys, limits (docs/serving.md).
#ifndef PITH_SERVE_SERVER_H_
#define PITH_SERVE_SERVER_H_

#include <cstdint>
#include <memory>
#include <string>

#include "serve/service.h"

namespace pith::serve {

struct ServerOptions {
  std::string host = "127.0.0.1";
  int port = 8080;              // 0: a free one
  std::string api_key;          // empty: none is asked for
  std::string cors;             // the origin whose pages may call; empty: none
  int64_t max_body = 8 << 20;   // bytes
  int connections = 256;        // that are served at once
  double request_seconds = 60;  // in which a client must have sent a request whole
};

class Server {
 public:
  // Binds the port. The service must outlive it. Throws kIo where the port cannot be had.
  Server(Service& service, const ServerOptions& options);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  int port() const;
  // Serves until it is stopped.
  void Run();
  // From another thread than Run, which was or will be called: nothing new is begun, texts that
  // wait are cancelled, and when all is answered the server ends.
  void Stop();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace pith::serve

#endif  // PITH_SERVE_SERVER_H_
