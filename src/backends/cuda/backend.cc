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

// What cuBLASLt's products of e4m3 ask of a shape.
bool TakesE4M3(const Exec& exec, const WeightView& w) {
  return exec.fp8 && w.dtype == DType::kBF16 && w.rows % 8 == 0 && w.cols % 16 == 0;
}

}  // namespace

const Kernels& Gpu::kernels() const { return Table(); }

// Straight from where the file is mapped. What is rounded passes through memory of its own size,
// which stays where Embed reads it too.
Weight Gpu::Prepare(const Exec& exec, const StoredMatrix& stored, WeightUse use) {
  if (IsQuantised(stored.dtype)) {
    const BufferOwner<float> rows(stored.rows * stored.cols);
    WidenRows(exec, stored, rows.data());
    return Prepare(exec, {DType::kF32, rows.data(), stored.rows, stored.cols}, use);
  }
  const DType type = use == WeightUse::kTable ? stored.dtype : ProductType(exec, stored.dtype);
  const int64_t count = stored.rows * stored.cols;
  if (count == 0) return {RowsOf(stored), nullptr};
  const auto allocate = [&](DType dtype, MemoryUse memory) {
    return Allocate(count * static_cast<int64_t>(SizeOf(dtype)), memory);
  };
  const bool both = use == WeightUse::kBoth;
  WeightView view = RowsOf(stored);
  auto storage = std::make_shared<std::array<DeviceBuffer, 4>>();
  auto& [values, exact, e4m3, scales] = *storage;
  DeviceBuffer as_stored = allocate(
      stored.dtype, type == stored.dtype || both ? MemoryUse::kWeights : MemoryUse::kScratch);
  Upload(exec.queue, stored.data, as_stored.data(), stored.bytes());
  if (type == stored.dtype) {
    values = std::move(as_stored);
  } else {
    values = allocate(type, MemoryUse::kWeights);
    Convert(StreamOf(exec), as_stored.data(), stored.dtype, values.data(), type, count);
    if (both) {
      exact = std::move(as_stored);
      view.exact = exact.data();
      view.exact_dtype = stored.dtype;
    }
    Synchronize(exec.queue);  // launches may read weights before they wait for those before them
  }
  view.dtype = type;
  view.data = values.data();
  if (use == WeightUse::kWide && TakesE4M3(exec, view)) {
    e4m3 = Allocate(count, MemoryUse::kWeights);
    scales = Allocate(stored.rows * static_cast<int64_t>(sizeof(float)), MemoryUse::kWeights);
    view.e4m3 = e4m3.data();
    view.scales = static_cast<const float*>(scales.data());
    RoundToE4M3(exec, view.data, type, view.cols, view.rows, view.cols, e4m3.data(),
                static_cast<float*>(scales.data()));
    Synchronize(exec.queue);
  }
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
