// Stands in for the CUDA backend in builds without it.
#include "ops/kernels.h"

namespace pith {

const Kernels* CudaKernels() { return nullptr; }

}  // namespace pith
