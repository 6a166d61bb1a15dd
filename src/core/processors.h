// The processors that the threads of a process run on.
#ifndef PITH_CORE_PROCESSORS_H_
#define PITH_CORE_PROCESSORS_H_

namespace pith {

// How many the process might use when this was first asked, at least one.
int UsableProcessors();

// Binds the calling thread, and each thread that ParallelFor's pool starts from now on, to a
// processor of its own among those that the process may use, in turn. Throws kUnsupported where the
// system cannot. For a machine that pith has to itself: a bound thread waits for its processor even
// where another one is free, and two processes bind theirs to the same ones.
void PinThreads();

}  // namespace pith

#endif  // PITH_CORE_PROCESSORS_H_
