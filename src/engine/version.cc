#include "pith/version.h"

#include <string>

#include "ops/backends.h"

namespace pith {

const char* BuildDescription() {
  static const std::string text = [] {
    std::string backends = "reference";
    if (CpuBackend() != nullptr) backends += ", cpu";
    if (CudaDevices() >= 0) backends += ", cuda";
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
