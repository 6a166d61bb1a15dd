#include "cli/ranks.h"

#include <charconv>
#include <cstdlib>
#include <string_view>

namespace pith::cli {

int LaunchedRanks() {
  // Open MPI's mpirun, PMI (MPICH, srun --mpi=pmi2), any step of srun.
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"}) {
    const char* text = std::getenv(name);
    if (text == nullptr) continue;
    const std::string_view value = text;
    int size = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), size);
    if (error == std::errc() && end == value.data() + value.size() && size >= 1) return size;
  }
  return 1;
}

}  // namespace pith::cli
