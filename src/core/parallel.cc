// The pool behind ParallelFor.
//
// It is our own because OpenMP's threads wait for each other by spinning: each loop there ends at a
// barrier that every thread of the team must reach, so on a machine with more runnable threads than
// processors each loop lasts as long as the slowest thread takes to be scheduled. Here a loop is
// over when its pieces are done, whoever did them, and who waits soon sleeps.
//
// A loop that runs stands in a *seat*. Seats live as long as the process, so a thread may look at
// any seat at any time. A helper sits down by taking one of the seat's places with one atomic step,
// works until no piece is left, and gets up. The caller works too; then it takes the places that
// are left, so that nobody sits down any more, and waits for those who sit.
#include "core/parallel.h"

#if defined(__linux__)
#include <sched.h>
#endif

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "core/error.h"
#include "core/processors.h"

namespace pith {
namespace {

// How long a thread looks for a change before it sleeps: longer than it takes to wake a thread, and
// than most gaps between two loops of a forward pass, but little beside a scheduler's time slice.
constexpr std::chrono::microseconds kSpin{200};

// Loops that run at once; further callers work alone.
constexpr size_t kSeats = 64;

struct Loop {
  int64_t n;
  void* context;
  void (*call)(void*, int64_t);
  std::atomic<int64_t> next{0};
  std::atomic<bool> failed{false};
  std::exception_ptr error;  // written by the one who sets `failed`
};

struct alignas(64) Seat {
  std::atomic<bool> taken{false};
  std::atomic<Loop*> loop{nullptr};
  std::atomic<uint32_t> state{0};  // kPlace × places left + helpers that sit
};
constexpr uint32_t kPlace = 1 << 16;

thread_local bool inside_loop = false;

void Pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Numbers of the processors that the process may use; none where the system does not tell.
std::vector<int> Processors() {
  std::vector<int> all;
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return all;
  for (int i = 0; i < CPU_SETSIZE; ++i) {
    if (CPU_ISSET(i, &set)) all.push_back(i);
  }
#endif
  return all;
}

bool BindThisThread([[maybe_unused]] int processor) {
#if defined(__linux__)
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor, &set);
  return sched_setaffinity(0, sizeof(set), &set) == 0;
#else
  return false;
#endif
}

// Waits until `value` is no longer `old`: for a short time awake, then asleep.
void AwaitChange(const std::atomic<uint32_t>& value, uint32_t old) {
  const auto until = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < 16; ++i) {
      if (value.load() != old) return;
      Pause();
    }
  } while (std::chrono::steady_clock::now() < until);
  value.wait(old);
}

void Work(Loop& loop) {
  inside_loop = true;
  for (;;) {
    const int64_t i = loop.next.fetch_add(1, std::memory_order_relaxed);
    if (i >= loop.n) break;
    try {
      loop.call(loop.context, i);
    } catch (...) {
      if (!loop.failed.exchange(true)) loop.error = std::current_exception();
      loop.next.store(loop.n);
    }
  }
  inside_loop = false;
}

class Pool {
 public:
  // Never destroyed: its threads sleep until the process ends.
  static Pool& Get() {
    static Pool& pool = *new Pool;
    return pool;
  }

  // The caller has the first processor, threads started later those after it.
  void Pin() {
    const std::lock_guard lock(starting_);
    if (processors_.empty()) processors_ = Processors();
    Require(!processors_.empty() && BindThisThread(processors_[0]), ErrorCode::kUnsupported,
            "pin: this system binds no thread to a processor");
  }

  void Run(Loop& loop, int helpers) {
    Seat* const seat = helpers > 0 ? FindSeat() : nullptr;
    if (!seat) {
      Work(loop);
      return;
    }
    StartThreads(helpers);
    seat->loop.store(&loop);
    seat->state.store(helpers * kPlace);
    calls_.fetch_add(1);
    for (int i = 0; i < helpers; ++i) calls_.notify_one();
    Work(loop);
    Clear(*seat);
    seat->taken.store(false);
  }

 private:
  Seat* FindSeat() {
    for (Seat& seat : seats_) {
      if (!seat.taken.load() && !seat.taken.exchange(true)) {
        return &seat;
      }
    }
    return nullptr;
  }

  static void Clear(Seat& seat) {
    uint32_t sitting = seat.state.fetch_and(kPlace - 1) % kPlace;
    while (sitting != 0) {
      AwaitChange(seat.state, sitting);
      sitting = seat.state.load();
    }
  }

  // Where the system gives no more threads, those that are there do the work.
  void StartThreads(int wanted) {
    if (started_.load() >= wanted) return;
    const std::lock_guard lock(starting_);
    try {
      for (int n = started_; n < wanted; ++n) {
        const int processor =
            processors_.empty() ? -1 : processors_[static_cast<size_t>(n + 1) % processors_.size()];
        std::thread([this, processor] {
          if (processor >= 0) BindThisThread(processor);
          Help();
        }).detach();
        started_ = n + 1;
      }
    } catch (const std::system_error&) {
    }
  }

  void Help() {
    for (;;) {
      const uint32_t calls = calls_.load();
      bool worked = false;
      for (Seat& seat : seats_) worked |= TrySeat(seat);
      if (!worked) AwaitChange(calls_, calls);
    }
  }

  static bool TrySeat(Seat& seat) {
    uint32_t state = seat.state.load();
    do {
      if (state < kPlace) return false;
    } while (!seat.state.compare_exchange_weak(state, state - kPlace + 1));
    Work(*seat.loop.load());
    // The seat may serve another loop from here on; being woken for nothing does it no harm.
    if (seat.state.fetch_sub(1) == 1) seat.state.notify_one();
    return true;
  }

  std::array<Seat, kSeats> seats_;
  std::atomic<uint32_t> calls_{0};  // grows with each loop that wants help
  std::atomic<int> started_{0};
  std::mutex starting_;
  std::vector<int> processors_;  // empty: threads are not bound; guarded by starting_
};

}  // namespace

int UsableProcessors() {
  static const int count = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  return count;
}

void PinThreads() {
  UsableProcessors();  // before there is but one
  Pool::Get().Pin();
}

void RunOnThreads(int threads, int64_t n, void* context, void (*call)(void*, int64_t)) {
  Loop loop{.n = n, .context = context, .call = call};
  if (inside_loop) {
    for (int64_t i = 0; i < n; ++i) call(context, i);
    return;
  }
  constexpr int64_t kMostHelpers = 4096;
  const int64_t helpers = std::min({n, static_cast<int64_t>(threads), kMostHelpers}) - 1;
  Pool::Get().Run(loop, static_cast<int>(helpers));
  if (loop.error) std::rethrow_exception(loop.error);
}

}  // namespace pith
