// A parallel loop whose result does not depend on the number of threads.
#ifndef PITH_CORE_PARALLEL_H_
#define PITH_CORE_PARALLEL_H_

#include <cstdint>
#include <memory>
#include <type_traits>

namespace pith {

// ParallelFor without its template: calls call(context, i). Needs threads >= 2 and n >= 2.
void RunOnThreads(int threads, int64_t n, void* context, void (*call)(void* context, int64_t i));

// Calls fn(i) for i in [0, n), each once, in any order, on the calling thread and at most
// threads - 1 threads of a pool that all loops of the process share. Every fn(i) must write only
// what belongs to i. An exception is rethrown here (the first of several); what has not begun by
// then is left out. A loop inside fn runs on fn's thread alone.
//
// The caller waits for no thread that has not begun a piece, so a loop gets done at the speed of
// the processors that it gets, however many other threads want them. Costs a few microseconds:
// give it work of at least that much, and use threads = 1 below.
template <class Fn>
void ParallelFor(int threads, int64_t n, Fn&& fn) {
  if (threads <= 1 || n <= 1) {
    for (int64_t i = 0; i < n; ++i) fn(i);
    return;
  }
  using Function = std::remove_reference_t<Fn>;
  RunOnThreads(threads, n, const_cast<void*>(static_cast<const void*>(std::addressof(fn))),
               [](void* context, int64_t i) { (*static_cast<Function*>(context))(i); });
}

}  // namespace pith

#endif  // PITH_CORE_PARALLEL_H_
