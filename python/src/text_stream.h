// A text that is written while Python reads its pieces.
#ifndef PITH_PYTHON_TEXT_STREAM_H_
#define PITH_PYTHON_TEXT_STREAM_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "pith/engine.h"

namespace pith::python {

// Uses the session on a thread of its own until it has ended; nobody else may meanwhile.
class TextStream {
 public:
  TextStream(Session& session, std::vector<int32_t> prompt, GenerateOptions options);
  ~TextStream();  // likewise lets go of the lock
  TextStream(const TextStream&) = delete;
  TextStream& operator=(const TextStream&) = delete;

  // With Python's lock held, which it lets go of while it waits. A signal whose handler raises
  // stops the text, and what was raised comes out of here. Likewise what the writing threw.
  std::optional<std::string> Next();
  // Of a text that has ended.
  const GenerateResult& Result() const;
  // Ends the text early and waits for it.
  void Stop();

 private:
  void Write(Session& session, const std::vector<int32_t>& prompt, GenerateOptions options);
  bool Give(std::string_view piece);
  bool WaitForPiece();

  std::atomic<bool> cancel_ = false;
  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::deque<std::string> pieces_;
  std::optional<GenerateResult> result_;
  std::exception_ptr error_;
  bool ended_ = false;
  std::thread writer_;
};

}  // namespace pith::python

#endif  // PITH_PYTHON_TEXT_STREAM_H_
