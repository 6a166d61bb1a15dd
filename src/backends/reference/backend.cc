// The reference backend: the host's memory, matrices where they lie.
#include "backends/reference/kernels.h"
#include "ops/backends.h"
#include "ops/host_backend.h"

namespace pith {
namespace {

class Reference : public HostBackend {
 public:
  Device device() const override { return Device::kReference; }
  const Kernels& kernels() const override { return reference::Table(); }
  Weight Prepare(const Exec& /*exec*/, const StoredMatrix& stored, WeightUse /*use*/) override {
    return {RowsOf(stored), nullptr};
  }
};

}  // namespace

Backend* ReferenceBackend() {
  static Reference backend;
  return &backend;
}

}  // namespace pith
