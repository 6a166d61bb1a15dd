// The processes that mpirun or srun started together. cli/mpi holds the real thing, cli/no_mpi its
// stand-in where the build has no MPI library.
#ifndef PITH_CLI_RANKS_H_
#define PITH_CLI_RANKS_H_

#include <atomic>
#include <string>

namespace pith::cli {

// How many processes the launcher says that it started; 1 without a launcher. Reads the environment
// alone, so that plain runs never touch MPI.
int LaunchedRanks();

// Initialises MPI where a launcher started several processes. One at a time, on the main thread.
class Ranks {
 public:
  // Throws kUnsupported where several processes would take themselves for the only one: the build
  // has no MPI, or MPI does not know this launcher.
  Ranks();
  ~Ranks();
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }

  // Processors for this rank: those that it may use over the ranks of this machine that may use the
  // same ones. 0, all of them, for a single rank.
  int threads() const { return threads_; }

  // Returns once every rank has called it; sleeps meanwhile. Throws kCancelled.
  void Barrier(const std::atomic<bool>& cancel) const;

  // Ends all ranks, so that none waits for one that is gone.
  [[noreturn]] void Abort(int exit_code) const;

  // The library's name and version, or "none".
  static std::string Library();

 private:
  int rank_ = 0;
  int size_ = 1;
  int threads_ = 0;
};

}  // namespace pith::cli

#endif  // PITH_CLI_RANKS_H_
