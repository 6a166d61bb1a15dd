#include "serve/peer.h"

#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>

#include <charconv>
#include <filesystem>
#include <string_view>
#include <system_error>

namespace pith::serve {
namespace {

bool IsConnectedTo(int socket, const std::string& address, const std::string& port) {
  sockaddr_storage peer = {};
  socklen_t length = sizeof peer;
  if (::getpeername(socket, reinterpret_cast<sockaddr*>(&peer), &length) != 0) return false;
  if (peer.ss_family != AF_INET && peer.ss_family != AF_INET6) return false;
  char host[NI_MAXHOST];
  char service[NI_MAXSERV];
  return ::getnameinfo(reinterpret_cast<const sockaddr*>(&peer), length, host, sizeof host, service,
                       sizeof service, NI_NUMERICHOST | NI_NUMERICSERV) == 0 &&
         address == host && port == service;
}

}  // namespace

Peer::Peer(const std::string& address, int port) {
  const std::string service = std::to_string(port);
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", error)) {
    const std::string name = entry.path().filename().string();
    int descriptor = -1;
    std::from_chars(name.data(), name.data() + name.size(), descriptor);
    if (descriptor >= 0 && IsConnectedTo(descriptor, address, service)) socket_ = descriptor;
  }
}

bool Peer::Gone() const {
  if (socket_ < 0) return false;
  pollfd poll = {.fd = socket_, .events = POLLRDHUP, .revents = 0};
  return ::poll(&poll, 1, 0) > 0 && (poll.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

}  // namespace pith::serve
