// Work that runs without Python's lock, and that Ctrl-C stops.
#ifndef PITH_PYTHON_RUN_H_
#define PITH_PYTHON_RUN_H_

#include <nanobind/nanobind.h>

#include <atomic>
#include <chrono>
#include <exception>
#include <future>
#include <optional>

#include "pith/options.h"

namespace pith::python {

// How long Ctrl-C may wait to be seen.
inline constexpr auto kPatience = std::chrono::milliseconds(50);

// A function of Python, or None.
using Callable = std::optional<nanobind::callable>;

// What `work(control)` returns. It runs on a thread of its own; this one holds no lock while it
// waits and looks for signals in between, and tells `progress`, where given, the share that is
// done. A signal whose handler raises cancels the work, as `progress` does if it raises, and what
// was raised comes out of this call once the work has stopped.
template <class Work>
auto Run(const Work& work, const Callable& progress = std::nullopt) {
  std::atomic<bool> cancel = false;
  std::atomic<double> share = 0;
  RunControl control{.cancel = &cancel};
  if (progress) control.progress = [&share](double done) { share = done; };
  auto result = std::async(std::launch::async, [&] { return work(control); });
  const auto tell = [&] {
    if (PyErr_CheckSignals() != 0) return false;
    try {
      if (progress) (*progress)(share.load());
    } catch (nanobind::python_error& error) {
      error.restore();
      return false;
    } catch (const std::exception& error) {  // leaving now would wait for the work with the lock
      PyErr_SetString(PyExc_RuntimeError, error.what());
      return false;
    }
    return true;
  };
  bool raised = false;
  const auto waiting = [&] {
    const nanobind::gil_scoped_release release;
    return result.wait_for(kPatience) != std::future_status::ready;
  };
  while (waiting()) {
    if (!raised && !tell()) cancel = raised = true;
  }
  if (!raised) return result.get();
  nanobind::python_error error;  // takes the pending exception
  {
    const nanobind::gil_scoped_release release;
    result.wait();
  }
  throw error;
}

}  // namespace pith::python

#endif  // PITH_PYTHON_RUN_H_
