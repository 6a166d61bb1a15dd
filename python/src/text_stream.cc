#include "text_stream.h"

#include <nanobind/nanobind.h>

#include <utility>

#include "run.h"

namespace nb = nanobind;

namespace pith::python {

TextStream::TextStream(Session& session, std::vector<int32_t> prompt, GenerateOptions options)
    : writer_([this, &session, prompt = std::move(prompt), options = std::move(options)] {
        Write(session, prompt, options);
      }) {}

TextStream::~TextStream() {
  const nb::gil_scoped_release release;
  Stop();
}

void TextStream::Write(Session& session, const std::vector<int32_t>& prompt,
                       GenerateOptions options) {
  options.control.cancel = &cancel_;
  options.on_text = [this](std::string_view piece) { return Give(piece); };
  std::optional<GenerateResult> result;
  std::exception_ptr error;
  try {
    result = session.Generate(prompt, options);
  } catch (...) {
    error = std::current_exception();
  }
  const std::lock_guard lock(mutex_);
  result_ = std::move(result);
  error_ = error;
  ended_ = true;
  changed_.notify_all();
}

bool TextStream::Give(std::string_view piece) {
  const std::lock_guard lock(mutex_);
  pieces_.emplace_back(piece);
  changed_.notify_all();
  return true;
}

bool TextStream::WaitForPiece() {
  const nb::gil_scoped_release release;
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, kPatience, [&] { return ended_ || !pieces_.empty(); });
}

std::optional<std::string> TextStream::Next() {
  while (!WaitForPiece()) {
    if (PyErr_CheckSignals() == 0) continue;
    nb::python_error raised;
    {
      const nb::gil_scoped_release release;
      Stop();
    }
    throw raised;
  }
  const std::lock_guard lock(mutex_);
  if (!pieces_.empty()) {
    std::string piece = std::move(pieces_.front());
    pieces_.pop_front();
    return piece;
  }
  if (error_ != nullptr) std::rethrow_exception(error_);
  return std::nullopt;
}

const GenerateResult& TextStream::Result() const {
  const std::lock_guard lock(mutex_);
  if (!result_) {
    throw Error(ErrorCode::kInvalidArgument, "result: the text has not ended, or it failed");
  }
  return *result_;
}

void TextStream::Stop() {
  cancel_ = true;
  if (writer_.joinable()) writer_.join();
}

}  // namespace pith::python
