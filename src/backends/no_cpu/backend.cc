// Stands in for the CPU backend in builds without it.
#include "ops/backends.h"

namespace pith {

Backend* CpuBackend() { return nullptr; }

}  // namespace pith
