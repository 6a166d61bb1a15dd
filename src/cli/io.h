// Input and output of verbs: standard streams and files, interrupts, progress.
#ifndef PITH_CLI_IO_H_
#define PITH_CLI_IO_H_

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "core/file.h"
#include "core/json.h"
#include "pith/options.h"

namespace pith::cli {

// The reader of standard output went away (`pith … | head`): nobody is left to tell.
struct OutputClosed {};

// Reads a whole text file or pipe, or standard input for "-", less a byte-order mark. Throws
// kNotFound or kIo, kCorruptData beyond 1 GiB, and kCancelled where Ctrl-C comes while it waits.
std::string ReadInput(const std::string& path, const std::atomic<bool>& cancel);

// Throws kIo or kNotFound unless a file can be written at `path`, so that a typing error costs no
// work. Existing devices and directories are refused: a rename would replace them.
void CheckWritable(const std::string& path);

// Where results go: standard output, unbuffered, or a file that appears whole at Commit().
class Output {
 public:
  explicit Output(const std::string& path);  // "": standard output

  // Throw kIo with the system's reason (a full disk, say), or OutputClosed.
  void Write(std::string_view text);
  // One line. Bytes that are not UTF-8 become U+FFFD; infinities become null.
  void WriteJson(const OrderedJson& json);
  void Commit();

 private:
  std::unique_ptr<AtomicWriter> file_;
};

// Standard output is a terminal, and NO_COLOR (no-color.org) is not set.
bool StdoutShowsColours();

// Messages for people, made printable (core/printable.h): whatever one quotes, and whoever put it
// together, it cannot drive the terminal. A standard error that cannot be written is not an error.
void WriteError(std::string_view text);

// To be called before anything is opened: a file must not take the number of a standard stream that
// is closed, and be read or written in its place.
void KeepStandardStreams();

// The first Ctrl-C raises the flag, the second ends the program. Throws kIo where a pipe cannot be
// made.
const std::atomic<bool>* CatchInterrupts();

// From here on SIGTERM is as Ctrl-C.
void CatchTermination();

// A bar on standard error for work of more than two seconds, where that is a terminal, with the
// time left at the pace so far. Cleared at the end. Not shared between threads.
class ProgressBar {
 public:
  ProgressBar(std::string label, bool quiet);
  ~ProgressBar() { Clear(); }
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void Show(double share);
  void Clear();
  // Clears it for good.
  void Disable() {
    Clear();
    enabled_ = false;
  }
  // Shows the share done of [begin, end]. Refers to this bar.
  RunControl Control(const std::atomic<bool>* cancel, double begin = 0, double end = 1);

 private:
  using Clock = std::chrono::steady_clock;
  std::string label_;
  bool enabled_;
  bool shown_ = false;
  Clock::time_point start_;
  Clock::time_point next_;
};

// Seconds since it was made.
class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace pith::cli

#endif  // PITH_CLI_IO_H_
