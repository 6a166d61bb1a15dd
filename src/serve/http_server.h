// cpp-httplib's server on connections of our own: a client has so many seconds to send a request
// whole, however it drips, and whoever answers can see that it has gone.
#ifndef PITH_SERVE_HTTP_SERVER_H_
#define PITH_SERVE_HTTP_SERVER_H_

#include <httplib.h>

#include <chrono>

namespace pith::serve {

struct ConnectionTimes {
  std::chrono::milliseconds request{60'000};  // from the first byte of a request to its last
  std::chrono::milliseconds silence{10'000};  // within a request
  std::chrono::milliseconds write{30'000};    // in which a client takes nothing
  std::chrono::milliseconds idle{5'000};      // between two requests of a connection
};

class HttpServer : public httplib::Server {
 public:
  explicit HttpServer(const ConnectionTimes& times) : times_(times) {}

  // Once it is bound: lets as many connections wait to be taken as the system allows. cpp-httplib
  // lets 5, and one that comes beyond them tries again a second later.
  void WidenBacklog();
  // Once it is bound: whether only this machine reaches it.
  bool AtLoopback() const;
  // Within a handler: whether the request that its thread answers came whole.
  static bool CameWhole();

 private:
  bool process_and_close_socket(socket_t socket) override;
  bool WaitForRequest(int socket) const;

  const ConnectionTimes times_;
};

// Whether a client is still there. A client that closes its sending side counts as gone.
class Peer {
 public:
  // Within a handler: of the request that its thread answers.
  static Peer OfThisThread();
  // For as long as the request is answered.
  bool Gone() const;

 private:
  explicit Peer(int socket) : socket_(socket) {}
  int socket_;
};

}  // namespace pith::serve

#endif  // PITH_SERVE_HTTP_SERVER_H_
