#include "cli/ranks.h"

#include <cstdlib>

#include "core/error.h"

namespace pith::cli {

Ranks::Ranks() {
  Require(LaunchedRanks() == 1, ErrorCode::kUnsupported, "started as one of ", LaunchedRanks(),
          " processes: this build of pith has no MPI, and all would do the same work; build it "
          "with MPI (docs/scaling.md), or run one process");
}

Ranks::~Ranks() = default;

void Ranks::Barrier(const std::atomic<bool>&) const {}

void Ranks::Abort(int exit_code) const { std::_Exit(exit_code); }

std::string Ranks::Library() { return "none"; }

}  // namespace pith::cli
