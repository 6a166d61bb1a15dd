#include "ops/host_backend.h"

#include <cstring>
#include <new>

namespace pith {
namespace {

constexpr std::align_val_t kAlignment{64};

void CopyBytes(const void* from, void* to, int64_t bytes) {
  if (bytes > 0) std::memmove(to, from, bytes);
}

}  // namespace

void HostBackend::Upload(const Queue& /*queue*/, const void* host, void* device, int64_t bytes) {
  CopyBytes(host, device, bytes);
}

void HostBackend::Download(const Queue& /*queue*/, const void* device, void* host, int64_t bytes) {
  CopyBytes(device, host, bytes);
}

void HostBackend::Copy(const Queue& /*queue*/, const void* from, void* to, int64_t bytes) {
  CopyBytes(from, to, bytes);
}

void HostBackend::Clear(const Queue& /*queue*/, void* data, int64_t bytes) {
  if (bytes > 0) std::memset(data, 0, bytes);
}

void* HostBackend::Acquire(int64_t bytes) { return ::operator new(bytes, kAlignment); }

void HostBackend::Release(void* data) { ::operator delete(data, kAlignment); }

}  // namespace pith
