// Which GPUs there are, and weights on them.
#include <array>
#include <memory>

#include "backends/cuda/gpu.h"
#include "backends/cuda/kernels.h"
#include "ops/backends.h"

namespace pith {
namespace cuda {
namespace {

constexpr int kMostDevices = 64;

// What products read at this precision.
DType ProductType(const Exec& exec, DType stored) {
  switch (exec.precision) {
    case Precision::kBF16:
      return DType::kBF16;
    case Precision::kF16:
      return DType::kF16;
    case Precision::kF32:
      break;
  }
  return stored;
}

}  // namespace

const Kernels& Gpu::kernels() const { return Table(); }

// Straight from where the file is mapped; what is rounded passes through scratch of its own size.
Weight Gpu::Prepare(const Exec& exec, const StoredMatrix& stored, WeightUse use) {
  const DType type = use == WeightUse::kTable ? stored.dtype : ProductType(exec, stored.dtype);
  const int64_t count = stored.rows * stored.cols;
  if (count == 0) return {RowsOf(stored), nullptr};
  auto storage = std::make_shared<DeviceBuffer>(
      Allocate(count * static_cast<int64_t>(SizeOf(type)), MemoryUse::kWeights));
  if (type == stored.dtype) {
    Upload(exec.queue, stored.data, storage->data(), stored.bytes());
  } else {
    const Scratch<std::byte> copy(exec, stored.bytes());
    Upload(exec.queue, stored.data, copy.data(), stored.bytes());
    Convert(StreamOf(exec), copy.data(), stored.dtype, storage->data(), type, count);
  }
  WeightView view = RowsOf(stored);
  view.dtype = type;
  view.data = storage->data();
  return {view, std::move(storage)};
}

}  // namespace cuda

int CudaDevices() {
  int count = 0;
  // Without a driver the runtime answers with an error: there is no GPU then.
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

// Never destroyed: at the end of the process the driver may go before they do.
Backend* CudaBackend(int ordinal) {
  static std::mutex mutex;
  static std::array<cuda::Gpu*, cuda::kMostDevices> devices{};
  const int count = std::min(CudaDevices(), cuda::kMostDevices);
  Require(count > 0, ErrorCode::kUnsupported, "device: got cuda:", ordinal,
          ", but this machine has no NVIDIA GPU or no driver for it (nvidia-smi tells)");
  Require(ordinal >= 0 && ordinal < count, ErrorCode::kInvalidArgument,
          "device: got cuda:", ordinal, ", expected cuda:0 to cuda:", count - 1);
  const std::lock_guard lock(mutex);
  if (devices[ordinal] == nullptr) devices[ordinal] = new cuda::Gpu(ordinal);
  return devices[ordinal];
}

}  // namespace pith
