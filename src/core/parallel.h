// A parallel loop whose result does not depend on the number of threads.
#ifndef PITH_CORE_PARALLEL_H_
#define PITH_CORE_PARALLEL_H_

#include <cstdint>
#include <exception>

namespace pith {

// Calls fn(i) for i in [0, n), each once, in any order. Every fn(i) must write only what belongs to
// i. The first exception is rethrown here. Costs a few microseconds of fork and join: give it work
// of at least that much, and use threads = 1 below.
template <class Fn>
void ParallelFor(int threads, int64_t n, Fn&& fn) {
  if (threads <= 1 || n <= 1) {
    for (int64_t i = 0; i < n; ++i) fn(i);
    return;
  }
  std::exception_ptr error;
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
  for (int64_t i = 0; i < n; ++i) {
    try {
      fn(i);
    } catch (...) {
#pragma omp critical(pith_parallel_for_error)
      if (!error) error = std::current_exception();
    }
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace pith

#endif  // PITH_CORE_PARALLEL_H_
