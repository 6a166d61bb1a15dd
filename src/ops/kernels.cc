#include "ops/kernels.h"

#include "core/error.h"
#include "ops/backend.h"

namespace pith {

const Kernels& KernelsFor(const Exec& exec) {
  PITH_CHECK(exec.backend != nullptr);
  return exec.backend->kernels();
}

}  // namespace pith
