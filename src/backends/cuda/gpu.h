// One GPU: its memory, its stream, and what kernels need to be launched on it.
#ifndef PITH_BACKENDS_CUDA_GPU_H_
#define PITH_BACKENDS_CUDA_GPU_H_

#include <cublasLt.h>
#include <cuda_runtime.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "core/error.h"
#include "ops/backend.h"

namespace pith::cuda {

// Throws kInternal with the expression, the device and the runtime's own words.
void CheckCall(cudaError_t status, const char* expression);
void CheckCall(cublasStatus_t status, const char* expression);
#define PITH_CUDA(expression) ::pith::cuda::CheckCall((expression), #expression)

// What a tensor-core product's algorithm depends on.
struct ProductShape {
  cudaDataType_t type = CUDA_R_16BF;  // of both operands
  int64_t rows = 0;                   // of the weight
  int64_t cols = 0;
  cudaDataType_t out = CUDA_R_32F;
  int64_t x_stride = 0;
  int64_t out_stride = 0;
  bool bias = false;
  int64_t few_rows = 0;  // 0: any number of them
  auto operator<=>(const ProductShape&) const = default;
};

class Gpu : public Backend {
 public:
  explicit Gpu(int ordinal);

  Device device() const override { return Device::kCuda; }
  const Kernels& kernels() const override;
  bool TakesFp8() const override { return properties_.major == 9; }
  Weight Prepare(const Exec& exec, const StoredMatrix& stored, WeightUse use) override;
  void Upload(const Queue& queue, const void* host, void* device, int64_t bytes) override;
  void Download(const Queue& queue, const void* device, void* host, int64_t bytes) override;
  void Copy(const Queue& queue, const void* from, void* to, int64_t bytes) override;
  void Clear(const Queue& queue, void* data, int64_t bytes) override;
  void Synchronize(const Queue& queue) override;
  void Repeat(const Queue& queue, std::span<const int64_t> key,
              const std::function<void()>& work) override;

  // Makes this GPU the calling thread's.
  void Select() const;
  cudaStream_t stream(const Queue& queue) const {
    if (IsRecording()) return recording_stream_;
    return queue.handle != nullptr ? static_cast<cudaStream_t>(queue.handle) : stream_;
  }
  const cudaDeviceProp& properties() const { return properties_; }
  // Whether it has Hopper's warpgroup products and this build the kernels with them.
  bool warpgroup() const { return warpgroup_; }

  // The bytes in device memory, for launches on `stream` that follow at once. Equal bytes that were
  // asked for lately are already there: what every layer asks for arrives once.
  const void* Place(cudaStream_t stream, const void* host, size_t bytes);

  // Whether this thread is recording: then it may not wait for the GPU.
  bool IsRecording() const;

  cublasLtHandle_t products() const { return products_; }
  // The algorithm for products of this shape: `choose` is asked once.
  template <class Choose>
  cublasLtMatmulAlgo_t Algorithm(const ProductShape& shape, const Choose& choose) {
    const std::lock_guard lock(algorithms_mutex_);
    const auto found = algorithms_.find(shape);
    return found != algorithms_.end() ? found->second
                                      : algorithms_.emplace(shape, choose()).first->second;
  }
  // Counters that are zero between launches, at least so many.
  unsigned* tickets(size_t count) const {
    Require(count <= kTickets, ErrorCode::kUnsupported, "batch: got ", count,
            " sequences times groups, expected at most ", kTickets);
    return tickets_;
  }
  void* product_scratch() const { return product_scratch_; }
  static constexpr size_t kProductScratch = size_t{32} << 20;

 protected:
  static constexpr size_t kTickets = 65535;  // also blocks in a grid's second dimension

  void* Acquire(int64_t bytes) override;
  void Release(void* data) override;

 private:
  struct Placed {
    std::vector<std::byte> host;
    void* device;
    int recordings = 0;  // that read it: it stays as long as they do
  };
  // What was launched for a key. Without a graph: once, or it cannot be recorded.
  struct Recording {
    std::vector<int64_t> key;
    cudaGraphExec_t graph = nullptr;
    bool seen = false;
    bool refused = false;
    std::vector<std::list<Placed>::iterator> placed;
  };

  void ForgetPlaced(cudaStream_t stream, size_t bytes);
  Recording& FindRecording(std::span<const int64_t> key);
  void Record(Recording& recording, const std::function<void()>& work);
  void Forget(Recording& recording);

  const int ordinal_;
  cudaDeviceProp properties_;
  bool warpgroup_ = false;
  cudaStream_t stream_ = nullptr;
  cudaStream_t recording_stream_ = nullptr;  // takes down what is recorded, and runs nothing
  cublasLtHandle_t products_ = nullptr;
  void* product_scratch_ = nullptr;
  unsigned* tickets_ = nullptr;
  std::mutex placed_mutex_;
  std::list<Placed> placed_;  // the latest first
  size_t placed_bytes_ = 0;
  // One thread at a time repeats work; the others wait.
  std::mutex recordings_mutex_;
  std::list<Recording> recordings_;             // the latest first
  std::atomic<Recording*> recorded_ = nullptr;  // the one that is being made, by this thread:
  std::atomic<std::thread::id> recorder_;
  std::vector<void*> freed_while_recording_;
  std::mutex algorithms_mutex_;
  std::map<ProductShape, cublasLtMatmulAlgo_t> algorithms_;
};

inline Gpu& GpuOf(const Exec& exec) { return static_cast<Gpu&>(*exec.backend); }

// The stream of `exec`, whose GPU becomes the calling thread's.
inline cudaStream_t StreamOf(const Exec& exec) {
  GpuOf(exec).Select();
  return GpuOf(exec).stream(exec.queue);
}

// Small host arrays in device memory, as Gpu::Place says.
template <class T>
const T* Place(const Exec& exec, std::span<const T> host) {
  return static_cast<const T*>(GpuOf(exec).Place(StreamOf(exec), host.data(), host.size_bytes()));
}

// Device memory for one operator, counted as scratch. Given back in the stream's order: what was
// launched before the end of its scope may still use it.
template <class T>
class Scratch {
 public:
  Scratch(const Exec& exec, int64_t count)
      : buffer_(
            exec.backend->Allocate(std::max<int64_t>(count, 1) * sizeof(T), MemoryUse::kScratch)) {}
  T* data() const { return static_cast<T*>(buffer_.data()); }

 private:
  DeviceBuffer buffer_;
};

inline unsigned Blocks(int64_t work, int64_t per_block) {
  return static_cast<unsigned>((work + per_block - 1) / per_block);
}

}  // namespace pith::cuda

#endif  // PITH_BACKENDS_CUDA_GPU_H_
