// Stands in for the CUDA backend in builds without it.
#include "ops/backends.h"

namespace pith {

Backend* CudaBackend(int /*ordinal*/) { return nullptr; }

int CudaDevices() { return -1; }

}  // namespace pith
