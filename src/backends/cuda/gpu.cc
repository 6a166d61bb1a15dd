#include "backends/cuda/gpu.h"

#include <algorithm>
#include <array>
#include <memory>
#include <new>
#include <optional>

#include "backends/cuda/compiled.h"
#include "backends/cuda/kernels.h"
#include "ops/backends.h"

namespace pith::cuda {
namespace {

constexpr int kOldestMajor = 8;                    // what the kernels are compiled for
constexpr size_t kPlacedAtOnce = 64;               // the latest, which launches are about to read
constexpr size_t kPlacedArrays = 256;              // that stay in device memory
constexpr size_t kPlacedBytes = size_t{64} << 20;  // and their bytes, at most

std::string DeviceName() {
  int ordinal = 0;
  cudaDeviceProp properties;
  if (cudaGetDevice(&ordinal) != cudaSuccess) return "no CUDA device";
  if (cudaGetDeviceProperties(&properties, ordinal) != cudaSuccess) return "a CUDA device";
  return StrCat("cuda:", ordinal, " (", properties.name, ")");
}

}  // namespace

void CheckCall(cudaError_t status, const char* expression) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // an error that does not stick is told once
  Throw(ErrorCode::kInternal, DeviceName(), ": ", expression,
        " failed: ", cudaGetErrorString(status));
}

void CheckCall(cublasStatus_t status, const char* expression) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  Throw(ErrorCode::kInternal, DeviceName(), ": ", expression,
        " failed: ", cublasLtGetStatusString(status));
}

Gpu::Gpu(int ordinal) : ordinal_(ordinal) {
  PITH_CUDA(cudaGetDeviceProperties(&properties_, ordinal));
  Require(properties_.major >= kOldestMajor, ErrorCode::kUnsupported, "device: cuda:", ordinal,
          " is a ", properties_.name, " of compute capability ", properties_.major, ".",
          properties_.minor, ", expected at least ", kOldestMajor, ".0");
  Select();
  Require(IsCompiledForThisGpu(), ErrorCode::kUnsupported, "device: cuda:", ordinal, " is a ",
          properties_.name, " of compute capability ", properties_.major, ".", properties_.minor,
          ", for which this build has no code, expected one built with that number in "
          "CMAKE_CUDA_ARCHITECTURES");
  warpgroup_ = properties_.major == 9 && HasWarpgroupKernels();
  PITH_CUDA(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
  // Freed memory stays with the process: the next operator's scratch costs no call to the driver.
  cudaMemPool_t pool;
  PITH_CUDA(cudaDeviceGetDefaultMemPool(&pool, ordinal));
  uint64_t keep = UINT64_MAX;
  PITH_CUDA(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep));
  PITH_CUDA(cublasLtCreate(&products_));
  PITH_CUDA(cudaMalloc(&product_scratch_, kProductScratch));
  PITH_CUDA(cudaMalloc(&tickets_, kTickets * sizeof(unsigned)));
  PITH_CUDA(cudaMemset(tickets_, 0, kTickets * sizeof(unsigned)));
}

void Gpu::Select() const {
  int current = -1;
  if (cudaGetDevice(&current) != cudaSuccess || current != ordinal_) {
    PITH_CUDA(cudaSetDevice(ordinal_));
  }
}

void* Gpu::Acquire(int64_t bytes) {
  Require(!IsRecording(), ErrorCode::kInternal, "memory was asked for in work that is recorded");
  Select();
  void* data = nullptr;
  const cudaError_t status =
      cudaMallocAsync(&data, static_cast<size_t>(std::max<int64_t>(bytes, 1)), stream_);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    size_t free = 0, total = 0;
    PITH_CUDA(cudaMemGetInfo(&free, &total));
    const auto held = [&](MemoryUse use) { return memory(use).bytes >> 20; };
    Throw(ErrorCode::kUnsupported, "device: ", DeviceName(), " has ", total >> 20,
          " MiB, of which ", free >> 20, " are free, and ", bytes >> 20,
          " MiB more were needed; pith holds ", held(MemoryUse::kWeights), " MiB of weights, ",
          held(MemoryUse::kStates), " of states, ", held(MemoryUse::kStream), " of rows and ",
          held(MemoryUse::kScratch), " of scratch. Expected a smaller model, batch or prompt");
  }
  PITH_CUDA(status);
  return data;
}

void Gpu::Release(void* data) {
  if (data == nullptr) return;
  if (IsRecording()) {
    freed_while_recording_.push_back(data);
    return;
  }
  // Called by destructors: nothing may be thrown.
  cudaSetDevice(ordinal_);
  cudaFreeAsync(data, stream_);
}

void Gpu::Upload(const Queue& queue, const void* host, void* device, int64_t bytes) {
  if (bytes == 0) return;
  Select();
  PITH_CUDA(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, stream(queue)));
  Synchronize(queue);
}

void Gpu::Download(const Queue& queue, const void* device, void* host, int64_t bytes) {
  if (bytes == 0) return;
  Select();
  PITH_CUDA(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream(queue)));
  Synchronize(queue);
}

void Gpu::Copy(const Queue& queue, const void* from, void* to, int64_t bytes) {
  if (bytes == 0) return;
  Select();
  PITH_CUDA(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream(queue)));
}

void Gpu::Clear(const Queue& queue, void* data, int64_t bytes) {
  if (bytes == 0) return;
  Select();
  PITH_CUDA(cudaMemsetAsync(data, 0, bytes, stream(queue)));
}

void Gpu::Synchronize(const Queue& queue) {
  Select();
  PITH_CUDA(cudaStreamSynchronize(stream(queue)));
}

// The oldest, until there is room for so many bytes more or only the latest are left.
void Gpu::ForgetPlaced(cudaStream_t stream, size_t bytes) {
  const auto last = std::next(placed_.begin(), std::min(placed_.size(), kPlacedAtOnce));
  for (auto it = placed_.end(); it != last;) {
    if (placed_.size() < kPlacedArrays && placed_bytes_ + bytes <= kPlacedBytes) return;
    --it;
    if (it->recordings > 0) continue;
    placed_bytes_ -= it->host.size();
    PITH_CUDA(cudaFreeAsync(it->device, stream));
    it = placed_.erase(it);
  }
}

const void* Gpu::Place(cudaStream_t stream, const void* host, size_t bytes) {
  if (bytes == 0) return nullptr;
  const std::lock_guard lock(placed_mutex_);
  for (auto it = placed_.begin(); it != placed_.end(); ++it) {
    if (it->host.size() != bytes || std::memcmp(it->host.data(), host, bytes) != 0) continue;
    placed_.splice(placed_.begin(), placed_, it);
    if (IsRecording()) {
      ++it->recordings;
      recorded_.load()->placed.push_back(it);
    }
    return it->device;
  }
  Require(!IsRecording(), ErrorCode::kInternal, "an array was placed in work that is recorded");
  ForgetPlaced(stream, bytes);
  const auto* const begin = static_cast<const std::byte*>(host);
  void* device = nullptr;
  PITH_CUDA(cudaMallocAsync(&device, bytes, stream));
  PITH_CUDA(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, stream));
  placed_.push_front({{begin, begin + bytes}, device});
  placed_bytes_ += bytes;
  return device;
}

}  // namespace pith::cuda
