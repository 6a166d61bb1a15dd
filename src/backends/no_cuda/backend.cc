// Stands in for the CUDA backend in builds without it.
#include "ops/backends.h"

namespace pith {

Backend* CudaBackend() { return nullptr; }

}  // namespace pith
