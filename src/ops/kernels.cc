#include "ops/kernels.h"

#include "core/error.h"

namespace pith {
namespace {

const Kernels& Present(const Kernels* kernels, const char* device) {
  Require(kernels != nullptr, ErrorCode::kUnsupported, "device: got ", device,
          ", expected one that this build has: it was compiled without that backend");
  return *kernels;
}

}  // namespace

const Kernels& KernelsFor(Device device) {
  switch (device) {
    case Device::kReference:
      return Present(ReferenceKernels(), "reference");
    case Device::kCpu:
      return Present(CpuKernels(), "cpu");
    case Device::kCuda:
      return Present(CudaKernels(), "cuda");
  }
  Throw(ErrorCode::kInternal, "device: got ", static_cast<int>(device), ", expected a known one");
}

}  // namespace pith
