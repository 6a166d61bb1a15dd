// Work that runs without Python's lock, and that Ctrl-C stops.
#ifndef PITH_PYTHON_RUN_H_
#define PITH_PYTHON_RUN_H_

#include <nanobind/nanobind.h>

#include <atomic>
#include <chrono>
#include <future>

#include "pith/options.h"

namespace pith::python {

// How long Ctrl-C may wait to be seen.
inline constexpr auto kPatience = std::chrono::milliseconds(50);

// What `work(control)` returns. It runs on a thread of its own; this one holds no lock while it
// waits and looks for signals in between. A signal whose handler raises cancels the work, and what
// the handler raised comes out of this call once the work has stopped.
template <class Work>
auto Run(const Work& work) {
  std::atomic<bool> cancel = false;
  auto result = std::async(std::launch::async, [&] { return work(RunControl{.cancel = &cancel}); });
  bool raised = false;
  const auto waiting = [&] {
    const nanobind::gil_scoped_release release;
    return result.wait_for(kPatience) != std::future_status::ready;
  };
  while (waiting()) {
    if (!raised && PyErr_CheckSignals() != 0) cancel = raised = true;
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
