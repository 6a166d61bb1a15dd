// The client's end of a connection, which cpp-httplib does not show to handlers.
#ifndef PITH_SERVE_PEER_H_
#define PITH_SERVE_PEER_H_

#include <string>

namespace pith::serve {

// Found by its address among this process's sockets. The connection stays open while its handler
// runs, so the socket is its own for as long.
class Peer {
 public:
  Peer(const std::string& address, int port);

  // The client closed the connection, or its sending side.
  bool Gone() const;

 private:
  int socket_ = -1;  // −1: not found
};

}  // namespace pith::serve

#endif  // PITH_SERVE_PEER_H_
