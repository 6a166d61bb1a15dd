#include "cli/io.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <utility>

#include "core/error.h"

namespace pith::cli {
namespace {

constexpr size_t kMaxInputBytes = size_t{1} << 30;

std::atomic<bool> interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free);

// Has something to read once an interrupt came: [0] is read from, [1] written to. A flag alone
// could be raised just before the program begins to wait for its input.
int interrupt_pipe[2] = {-1, -1};

void OnInterrupt(int) {
  const int error = errno;
  std::signal(SIGTERM, SIG_DFL);  // whichever comes next ends the program
  interrupted = true;
  [[maybe_unused]] const ssize_t written = ::write(interrupt_pipe[1], "", 1);
  errno = error;
}

[[noreturn]] void ThrowSystem(const std::string& name, const char* action) {
  const int error = errno;
  Throw(error == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo, name, ": cannot ", action, ": ",
        std::strerror(error));
}

bool DumbTerminal() {
  const char* term = std::getenv("TERM");
  return term != nullptr && std::string_view(term) == "dumb";
}

// False: errno says why.
bool WriteAll(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t done = ::write(fd, text.data(), text.size());
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return false;
    text.remove_prefix(static_cast<size_t>(done));
  }
  return true;
}

// Until there is input, or its end, or an interrupt.
void AwaitInput(int fd) {
  pollfd polls[] = {{.fd = fd, .events = POLLIN, .revents = 0},
                    {.fd = interrupt_pipe[0], .events = POLLIN, .revents = 0}};
  while (::poll(polls, std::size(polls), -1) < 0 && errno == EINTR) {
  }
}

std::string ReadAll(int fd, const std::string& name, const std::atomic<bool>& cancel) {
  std::string text;
  char buffer[1 << 16];
  while (true) {
    AwaitInput(fd);
    Require(!cancel, ErrorCode::kCancelled, "cancelled while reading ", name);
    const ssize_t got = ::read(fd, buffer, sizeof buffer);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got < 0) ThrowSystem(name, "read");
    if (got == 0) return text;
    text.append(buffer, static_cast<size_t>(got));
    Require(text.size() <= kMaxInputBytes, ErrorCode::kCorruptData, name, ": more than ",
            kMaxInputBytes, " bytes");
  }
}

}  // namespace

std::string ReadInput(const std::string& path, const std::atomic<bool>& cancel) {
  if (path == "-") {
    const std::string name = "standard input";
    return WithoutByteOrderMark(ReadAll(STDIN_FILENO, name, cancel), name);
  }
  // A named pipe that nobody writes to yet is waited for like other input.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) ThrowSystem(path, "open");
  const std::unique_ptr<const int, void (*)(const int*)> closer(&fd,
                                                                [](const int* f) { ::close(*f); });
  return WithoutByteOrderMark(ReadAll(fd, path, cancel), path);
}

void CheckWritable(const std::string& path) {
  std::error_code ignored;
  const auto status = std::filesystem::status(path, ignored);
  Require(!std::filesystem::exists(status) || std::filesystem::is_regular_file(status),
          ErrorCode::kIo, path, ": cannot write: not a regular file");
  const AtomicWriter probe(path);
}

Output::Output(const std::string& path) {
  if (path.empty()) return;
  CheckWritable(path);
  file_ = std::make_unique<AtomicWriter>(path);
}

void Output::Write(std::string_view text) {
  if (file_) {
    file_->Write(text);
  } else if (!WriteAll(STDOUT_FILENO, text)) {
    if (errno == EPIPE) throw OutputClosed();
    ThrowSystem("standard output", "write");
  }
}

void Output::WriteJson(const OrderedJson& json) { Write(JsonText(json) + "\n"); }

void Output::Commit() {
  if (file_) file_->Commit();
}

bool StdoutShowsColours() {
  const char* no_color = std::getenv("NO_COLOR");
  return ::isatty(STDOUT_FILENO) == 1 && (no_color == nullptr || *no_color == '\0') &&
         !DumbTerminal();
}

void WriteError(std::string_view text) {
  static_cast<void>(WriteAll(STDERR_FILENO, Printable(text, true)));
}

void KeepStandardStreams() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(fd, F_GETFD) >= 0) continue;
    // Takes the lowest number that is free, which is fd. Whoever uses it gets an error, as before.
    static_cast<void>(::open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY));
  }
}

const std::atomic<bool>* CatchInterrupts() {
  if (::pipe2(interrupt_pipe, O_CLOEXEC | O_NONBLOCK) != 0) ThrowSystem("a pipe", "make");
  struct sigaction action = {};
  action.sa_handler = OnInterrupt;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  std::signal(SIGPIPE, SIG_IGN);  // write() says EPIPE instead, and temporary files get removed
  return &interrupted;
}

void CatchTermination() {
  struct sigaction action = {};
  action.sa_handler = [](int signal) {
    std::signal(SIGINT, SIG_DFL);
    OnInterrupt(signal);
  };
  sigemptyset(&action.sa_mask);
  sigaction(SIGTERM, &action, nullptr);
}

namespace {

// ", 1:02:03 left" or ", 2:03 left"
std::string TimeLeft(double seconds) {
  constexpr double kMost = 1e9;  // keeps the cast defined
  const auto whole = static_cast<int64_t>(std::min(seconds, kMost));
  const auto two_digits = [](int64_t n) { return StrCat(n < 10 ? "0" : "", n); };
  const std::string minutes =
      whole < 3600 ? StrCat(whole / 60) : StrCat(whole / 3600, ":", two_digits(whole / 60 % 60));
  return StrCat(", ", minutes, ":", two_digits(whole % 60), " left");
}

// In place of the terminal's last line.
void ShowLine(const std::string& text) {
  static_cast<void>(WriteAll(STDERR_FILENO, StrCat("\r", text, "\033[K")));
}

}  // namespace

ProgressBar::ProgressBar(std::string label, bool quiet)
    : label_(std::move(label)), start_(Clock::now()), next_(start_ + std::chrono::seconds(2)) {
  enabled_ = !quiet && !DumbTerminal() && ::isatty(STDERR_FILENO) == 1;
}

void ProgressBar::Show(double share) {
  const auto now = Clock::now();
  if (!enabled_ || now < next_) return;
  constexpr int kWidth = 30;
  const double bounded = std::clamp(share, 0.0, 1.0);
  const int full = static_cast<int>(bounded * kWidth);
  const std::string bar = std::string(full, '#') + std::string(kWidth - full, '.');
  const std::chrono::duration<double> spent = now - start_;
  const std::string left = bounded > 0 ? TimeLeft(spent.count() * (1 - bounded) / bounded) : "";
  ShowLine(StrCat(label_, " [", bar, "] ", static_cast<int>(bounded * 100), " %", left));
  shown_ = true;
  next_ = now + std::chrono::milliseconds(100);
}

void ProgressBar::Clear() {
  if (std::exchange(shown_, false)) ShowLine("");
}

RunControl ProgressBar::Control(const std::atomic<bool>* cancel, double begin, double end) {
  return {.cancel = cancel,
          .progress = [this, begin, end](double share) { Show(begin + share * (end - begin)); }};
}

}  // namespace pith::cli
