#include "pith/version.h"

#include <string>

#include "ops/kernels.h"

namespace pith {

const char* BuildDescription() {
  static const std::string text = [] {
    std::string backends = "reference";
    if (CpuKernels() != nullptr) backends += ", cpu";
    if (CudaKernels() != nullptr) backends += ", cuda";
    return std::string("pith " PITH_VERSION "\ncompiler: ") + __VERSION__ +
#ifdef NDEBUG
           "\nbuild: optimised" +
#else
           "\nbuild: with debug assertions" +
#endif
           "\nbackends: " + backends + "\n";
  }();
  return text.c_str();
}

}  // namespace pith
