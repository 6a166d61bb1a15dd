#include "serve/http_server.h"

#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <string>
#include <string_view>

#include "serve/origin.h"

namespace pith::serve {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

bool Poll(int socket, int16_t events, milliseconds wait) {
  const Clock::time_point end = Clock::now() + wait;
  while (true) {
    const auto left = std::chrono::duration_cast<milliseconds>(end - Clock::now());
    pollfd poll = {.fd = socket, .events = events, .revents = 0};
    const int ready = ::poll(&poll, 1, static_cast<int>(std::max<int64_t>(0, left.count())));
    if (ready >= 0 || errno != EINTR) return ready > 0;
  }
}

using NameOfSocket = int (*)(int, sockaddr*, socklen_t*);

void AddressOf(NameOfSocket name, int socket, std::string& address, int& port) {
  sockaddr_storage end = {};
  socklen_t length = sizeof end;
  std::array<char, NI_MAXHOST> host = {};
  std::array<char, NI_MAXSERV> service = {};
  if (name(socket, reinterpret_cast<sockaddr*>(&end), &length) != 0) return;
  if (::getnameinfo(reinterpret_cast<const sockaddr*>(&end), length, host.data(), host.size(),
                    service.data(), service.size(), NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
    return;
  }
  address = host.data();
  const std::string_view digits(service.data());
  std::from_chars(digits.data(), digits.data() + digits.size(), port);
}

class Connection : public httplib::Stream {
 public:
  Connection(int socket, const ConnectionTimes& times) : socket_(socket), times_(times) {}

  void BeginRequest() { deadline_ = Clock::now() + times_.request; }
  // A request was not read to its end: what may still come is none.
  bool broken() const { return broken_; }
  bool HoldsBytes() const { return at_ < end_; }

  bool is_readable() const override { return HoldsBytes() || Poll(socket_, POLLIN, WaitToRead()); }
  bool is_writable() const override { return Poll(socket_, POLLOUT, times_.write); }

  // At most what is buffered; −1: the time is up, or the connection broke.
  ssize_t read(char* to, size_t size) override {
    if (!HoldsBytes()) {
      const bool in_time = WaitToRead() > milliseconds(0) && is_readable();
      const ssize_t got = in_time ? ::recv(socket_, buffer_.data(), buffer_.size(), 0) : -1;
      broken_ = got <= 0;
      if (broken_) return got;
      at_ = 0;
      end_ = static_cast<size_t>(got);
    }
    const size_t taken = std::min(size, end_ - at_);
    std::memcpy(to, buffer_.data() + at_, taken);
    at_ += taken;
    return static_cast<ssize_t>(taken);
  }

  ssize_t write(const char* from, size_t size) override {
    return is_writable() ? ::send(socket_, from, size, MSG_NOSIGNAL) : -1;
  }

  void get_remote_ip_and_port(std::string& ip, int& port) const override {
    AddressOf(::getpeername, socket_, ip, port);
  }
  void get_local_ip_and_port(std::string& ip, int& port) const override {
    AddressOf(::getsockname, socket_, ip, port);
  }
  socket_t socket() const override { return socket_; }

 private:
  milliseconds WaitToRead() const {
    const auto left = std::chrono::duration_cast<milliseconds>(deadline_ - Clock::now());
    return std::min(times_.silence, left);
  }

  const int socket_;
  const ConnectionTimes& times_;
  Clock::time_point deadline_;
  std::array<char, 8192> buffer_;
  size_t at_ = 0;
  size_t end_ = 0;
  bool broken_ = false;
};

// A body is JSON whatever it is called: cpp-httplib would take one that curl -d calls a form apart,
// and refuse it beyond 8 KiB.
void ForgetType(httplib::Request& request) { request.headers.erase("Content-Type"); }

// The one that this thread serves. Handlers get no more than a request.
thread_local const Connection* serving = nullptr;

}  // namespace

// In short steps, so that a server that stops waits for no idle client.
bool HttpServer::WaitForRequest(int socket) const {
  constexpr milliseconds kStep(100);
  const Clock::time_point end = Clock::now() + times_.idle;
  while (svr_sock_ != INVALID_SOCKET && Clock::now() < end) {
    if (Poll(socket, POLLIN, kStep)) return true;
  }
  return false;
}

bool HttpServer::process_and_close_socket(socket_t socket) {
  Connection connection(socket, times_);
  serving = &connection;
  bool answered = false;
  for (size_t left = keep_alive_max_count_; left > 0; --left) {
    if (!connection.HoldsBytes() && !WaitForRequest(socket)) break;
    connection.BeginRequest();
    bool closed = false;
    answered = process_request(connection, /*close_connection=*/left == 1, closed, ForgetType);
    if (!answered || closed || connection.broken()) break;
  }
  serving = nullptr;
  ::shutdown(socket, SHUT_RDWR);
  ::close(socket);
  return answered;
}

void HttpServer::WidenBacklog() { ::listen(svr_sock_, SOMAXCONN); }

bool HttpServer::AtLoopback() const {
  std::string address;
  int port = 0;
  AddressOf(::getsockname, svr_sock_, address, port);
  return IsLoopback(address);
}

bool HttpServer::CameWhole() { return serving != nullptr && !serving->broken(); }

Peer Peer::OfThisThread() { return Peer(serving == nullptr ? -1 : serving->socket()); }

bool Peer::Gone() const {
  pollfd poll = {.fd = socket_, .events = POLLRDHUP, .revents = 0};
  return ::poll(&poll, 1, 0) > 0 && (poll.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

}  // namespace pith::serve
