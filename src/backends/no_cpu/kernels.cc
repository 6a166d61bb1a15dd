// Stands in for the CPU backend in builds without it.
#include "ops/kernels.h"

namespace pith {

const Kernels* CpuKernels() { return nullptr; }

}  // namespace pith
