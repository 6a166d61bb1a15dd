#include "cli/ranks.h"

#include <mpi.h>
#include <sched.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <thread>
#include <vector>

#include "core/error.h"

namespace pith::cli {
namespace {

// Ranks of one machine that are bound to the same processors, or to none, share them.
int ProcessorsOfRank() {
  cpu_set_t own;
  CPU_ZERO(&own);
  // Where it fails this rank takes part all the same: others wait for it.
  if (sched_getaffinity(0, sizeof own, &own) != 0) CPU_ZERO(&own);
  MPI_Comm machine = MPI_COMM_NULL;
  MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &machine);
  int ranks = 0;
  MPI_Comm_size(machine, &ranks);
  std::vector<cpu_set_t> all(ranks);
  MPI_Allgather(&own, sizeof own, MPI_BYTE, all.data(), sizeof own, MPI_BYTE, machine);
  MPI_Comm_free(&machine);
  const auto sharing =
      std::ranges::count_if(all, [&](const cpu_set_t& other) { return CPU_EQUAL(&own, &other); });
  if (CPU_COUNT(&own) == 0) return 0;
  return std::max(1, CPU_COUNT(&own) / static_cast<int>(sharing));
}

}  // namespace

Ranks::Ranks() {
  const int launched = LaunchedRanks();
  if (launched == 1) return;
  int provided = 0;
  MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
  MPI_Comm_size(MPI_COMM_WORLD, &size_);
  if (size_ != launched) {
    MPI_Finalize();
    Throw(ErrorCode::kUnsupported, "started as one of ", launched, " processes, but MPI sees ",
          size_, ": this MPI does not know the launcher; try srun --mpi=pmix, or mpirun of ",
          Library());
  }
  threads_ = ProcessorsOfRank();
}

Ranks::~Ranks() {
  if (size_ > 1) MPI_Finalize();
}

void Ranks::Barrier(const std::atomic<bool>& cancel) const {
  if (size_ == 1) return;
  MPI_Request request = MPI_REQUEST_NULL;
  MPI_Ibarrier(MPI_COMM_WORLD, &request);
  int done = 0;
  while (true) {
    MPI_Test(&request, &done, MPI_STATUS_IGNORE);
    if (done != 0) return;
    Require(!cancel, ErrorCode::kCancelled, "cancelled");
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

void Ranks::Abort(int exit_code) const {
  if (size_ > 1) MPI_Abort(MPI_COMM_WORLD, exit_code);
  std::_Exit(exit_code);
}

std::string Ranks::Library() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
  int length = 0;
  MPI_Get_library_version(text.data(), &length);
  const std::string whole(text.data(), length);
  return whole.substr(0, whole.find_first_of(",\n"));
}

}  // namespace pith::cli
