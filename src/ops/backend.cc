#include "ops/backend.h"

#include "core/error.h"
#include "ops/backends.h"

namespace pith {
namespace {

Backend& Present(Backend* backend, const char* device) {
  Require(backend != nullptr, ErrorCode::kUnsupported, "device: got ", device,
          ", expected one that this build has: it was compiled without that backend");
  return *backend;
}

}  // namespace

DeviceBuffer::~DeviceBuffer() {
  if (backend_ != nullptr) backend_->Give(data_, bytes_, use_);
}

void Backend::Counter::Add(int64_t added) {
  const int64_t now = bytes += added;
  int64_t most = peak;
  while (now > most && !peak.compare_exchange_weak(most, now)) continue;
}

DeviceBuffer Backend::Allocate(int64_t bytes, MemoryUse use) {
  PITH_CHECK(bytes >= 0);
  void* const data = Acquire(bytes);
  counters_[static_cast<size_t>(use)].Add(bytes);
  total_.Add(bytes);
  return {this, data, bytes, use};
}

void Backend::Give(void* data, int64_t bytes, MemoryUse use) {
  Release(data);
  counters_[static_cast<size_t>(use)].bytes -= bytes;
  total_.bytes -= bytes;
}

MemoryCount Backend::memory(MemoryUse use) const {
  return counters_[static_cast<size_t>(use)].Read();
}

MemoryCount Backend::memory() const { return total_.Read(); }

void Backend::ResetPeaks() {
  for (Counter& counter : counters_) counter.peak = counter.bytes.load();
  total_.peak = total_.bytes.load();
}

Backend& BackendOf(Device device) {
  switch (device) {
    case Device::kReference:
      return Present(ReferenceBackend(), "reference");
    case Device::kCpu:
      return Present(CpuBackend(), "cpu");
    case Device::kCuda:
      return Present(CudaBackend(), "cuda");
  }
  Throw(ErrorCode::kInternal, "device: got ", static_cast<int>(device), ", expected a known one");
}

DeviceVector::DeviceVector(const Exec& exec, std::span<const float> values)
    : size_(static_cast<int64_t>(values.size())) {
  if (values.empty()) return;
  buffer_ = exec.backend->Allocate(static_cast<int64_t>(values.size_bytes()), MemoryUse::kWeights);
  exec.backend->Upload(exec.queue, values.data(), buffer_.data(), buffer_.bytes());
}

void DownloadRows(const Exec& exec, MatView<const float> from, HostView<float> to) {
  PITH_CHECK(from.rows == to.rows && from.cols == to.cols);
  const auto bytes = from.cols * static_cast<int64_t>(sizeof(float));
  for (int64_t r = 0; r < from.rows; ++r) {
    exec.backend->Download(exec.queue, from.Row(r), to.Row(r), bytes);
  }
}

void UploadRows(const Exec& exec, HostView<const float> from, MatView<float> to) {
  PITH_CHECK(from.rows == to.rows && from.cols == to.cols);
  const auto bytes = from.cols * static_cast<int64_t>(sizeof(float));
  for (int64_t r = 0; r < from.rows; ++r) {
    exec.backend->Upload(exec.queue, from.Row(r), to.Row(r), bytes);
  }
}

}  // namespace pith
