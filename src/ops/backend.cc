#include "ops/backend.h"

#include "core/blocks.h"
#include "core/error.h"
#include "core/parallel.h"
#include "ops/backends.h"

namespace pith {
namespace {

Backend& Present(Backend* backend, const char* device) {
  Require(backend != nullptr, ErrorCode::kUnsupported, "device: got ", device,
          ", expected one that this build has: it was compiled without that backend");
  return *backend;
}

// Each copy waits for the device: all rows in one where nothing lies between them.
int64_t RowsAtOnce(int64_t rows, int64_t cols, int64_t stride) { return stride == cols ? rows : 1; }

Backend& Gpu(int ordinal) {
  const int devices = CudaDevices();
  Require(devices != 0, ErrorCode::kUnsupported, "device: got cuda, but this machine has no ",
          "NVIDIA GPU, or no driver for it; expected another device");
  Require(devices < 0 || (ordinal >= 0 && ordinal < devices), ErrorCode::kUnsupported,
          "device: got cuda:", ordinal, ", but this machine has ", devices,
          devices == 1 ? " GPU; expected cuda or cuda:0"
                       : StrCat(" GPUs; expected cuda:0 to cuda:", devices - 1));
  return Present(CudaBackend(ordinal), "cuda");
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

Backend& BackendOf(Device device, int ordinal) {
  PITH_CHECK(ordinal == 0 || device == Device::kCuda);
  switch (device) {
    case Device::kReference:
      return Present(ReferenceBackend(), "reference");
    case Device::kCpu:
      return Present(CpuBackend(), "cpu");
    case Device::kCuda:
      return Gpu(ordinal);
  }
  Throw(ErrorCode::kInternal, "device: got ", static_cast<int>(device), ", expected a known one");
}

DeviceVector::DeviceVector(const Exec& exec, std::span<const float> values)
    : size_(static_cast<int64_t>(values.size())) {
  if (values.empty()) return;
  buffer_ = exec.backend->Allocate(static_cast<int64_t>(values.size_bytes()), MemoryUse::kWeights);
  exec.backend->Upload(exec.queue, values.data(), buffer_.data(), buffer_.bytes());
}

void WidenRows(const Exec& exec, const StoredMatrix& stored, float* to) {
  ParallelFor(exec.threads, stored.rows, [&](int64_t r) {
    WidenRow(stored, r, std::span(to + r * stored.cols, static_cast<size_t>(stored.cols)));
  });
}

void DownloadRows(const Exec& exec, MatView<const float> from, HostView<float> to) {
  PITH_CHECK(from.rows == to.rows && from.cols == to.cols);
  const int64_t rows = RowsAtOnce(from.rows, from.cols, from.stride);
  for (int64_t r = 0; r < from.rows; r += rows) {
    exec.backend->Download(exec.queue, from.Row(r), to.Row(r),
                           BytesOf(DType::kF32, rows * from.cols));
  }
}

void UploadRows(const Exec& exec, HostView<const float> from, MatView<float> to) {
  PITH_CHECK(from.rows == to.rows && from.cols == to.cols);
  const int64_t rows = RowsAtOnce(to.rows, to.cols, to.stride);
  for (int64_t r = 0; r < from.rows; r += rows) {
    exec.backend->Upload(exec.queue, from.Row(r), to.Row(r),
                         BytesOf(DType::kF32, rows * from.cols));
  }
}

}  // namespace pith
