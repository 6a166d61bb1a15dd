// What backends share that compute in the host's memory.
#ifndef PITH_OPS_HOST_BACKEND_H_
#define PITH_OPS_HOST_BACKEND_H_

#include "ops/backend.h"

namespace pith {

class HostBackend : public Backend {
 public:
  void Upload(const Queue& queue, const void* host, void* device, int64_t bytes) override;
  void Download(const Queue& queue, const void* device, void* host, int64_t bytes) override;
  void Copy(const Queue& queue, const void* from, void* to, int64_t bytes) override;
  void Clear(const Queue& queue, void* data, int64_t bytes) override;
  void Synchronize(const Queue& /*queue*/) override {}

 protected:
  void* Acquire(int64_t bytes) override;
  void Release(void* data) override;
};

}  // namespace pith

#endif  // PITH_OPS_HOST_BACKEND_H_
