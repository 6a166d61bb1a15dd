// What a device offers: memory, weights prepared for its kernels, and the kernels.
#ifndef PITH_OPS_BACKEND_H_
#define PITH_OPS_BACKEND_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>

#include "core/exec.h"
#include "core/tensor.h"
#include "core/weight.h"
#include "ops/kernels.h"

namespace pith {

// What memory is for. Each use is counted apart.
enum class MemoryUse : uint8_t { kWeights, kStates, kScratch, kStream };
inline constexpr size_t kMemoryUses = 4;

struct MemoryCount {
  int64_t bytes = 0;  // held now
  int64_t peak = 0;   // the most that was ever held
};

// Who reads a prepared matrix: Linear and LinearStep, Embed, or, where the head is tied to the
// embedding, all of them. kWide is kProduct for a matrix that may be read in 8 bits (Exec::fp8).
enum class WeightUse : uint8_t { kProduct, kWide, kTable, kBoth };

class Backend;

// Memory of a backend, given back when it goes. Aligned to a cache line, uninitialised.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  DeviceBuffer(Backend* backend, void* data, int64_t bytes, MemoryUse use)
      : backend_(backend), data_(data), bytes_(bytes), use_(use) {}
  DeviceBuffer(DeviceBuffer&& other) noexcept { *this = std::move(other); }
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    std::swap(backend_, other.backend_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(use_, other.use_);
    return *this;
  }
  ~DeviceBuffer();

  void* data() const { return data_; }
  int64_t bytes() const { return bytes_; }

 private:
  Backend* backend_ = nullptr;
  void* data_ = nullptr;
  int64_t bytes_ = 0;
  MemoryUse use_ = MemoryUse::kScratch;
};

// One object per device and process; safe to call from any thread. What runs on a queue is done
// when Synchronize returns; Upload and Download return when their bytes have arrived.
class Backend {
 public:
  virtual ~Backend() = default;
  virtual Device device() const = 0;
  virtual const Kernels& kernels() const = 0;
  // Whether Exec::fp8 may be set.
  virtual bool TakesFp8() const { return false; }

  // Throws std::bad_alloc, or kUnsupported with the numbers, where the device has no room.
  DeviceBuffer Allocate(int64_t bytes, MemoryUse use);
  MemoryCount memory(MemoryUse use) const;
  MemoryCount memory() const;  // of all uses together
  // Every peak becomes what is held now.
  void ResetPeaks();

  // A matrix as this backend's kernels read it: copied to the device, packed, or left where it lies
  // (then the weight owns nothing, and `stored` must outlive it). Exact, but that what products
  // read may be rounded once and for all to the 16 bits that `exec` computes in; rows that Embed
  // reads never are. Quantised matrices stay so on the CPU and the reference; a GPU widens them.
  virtual Weight Prepare(const Exec& exec, const StoredMatrix& stored, WeightUse use) = 0;

  virtual void Upload(const Queue& queue, const void* host, void* device, int64_t bytes) = 0;
  virtual void Download(const Queue& queue, const void* device, void* host, int64_t bytes) = 0;
  virtual void Copy(const Queue& queue, const void* from, void* to, int64_t bytes) = 0;
  virtual void Clear(const Queue& queue, void* data, int64_t bytes) = 0;  // to zero
  virtual void Synchronize(const Queue& queue) = 0;

  // Does `work`, which runs operators on `queue` and waits for none. Where all that they are given
  // follows from `key`, the sizes and addresses of every operand among it, a backend may record
  // what was launched and launch it again when the key comes again, without calling `work`.
  virtual void Repeat(const Queue& /*queue*/, std::span<const int64_t> /*key*/,
                      const std::function<void()>& work) {
    work();
  }

 protected:
  friend class DeviceBuffer;
  virtual void* Acquire(int64_t bytes) = 0;
  virtual void Release(void* data) = 0;

 private:
  void Give(void* data, int64_t bytes, MemoryUse use);

  struct Counter {
    std::atomic<int64_t> bytes = 0;
    std::atomic<int64_t> peak = 0;

    void Add(int64_t added);
    MemoryCount Read() const { return {.bytes = bytes, .peak = peak}; }
  };
  std::array<Counter, kMemoryUses> counters_;
  Counter total_;
};

// The backend of a device; `ordinal` tells GPUs apart and is 0 for the others. Throws kUnsupported
// where this build lacks it or this machine has no such GPU.
Backend& BackendOf(Device device, int ordinal = 0);

inline Exec ExecOn(Device device, int threads = 1, Precision precision = Precision::kF32,
                   int ordinal = 0) {
  return {.backend = &BackendOf(device, ordinal), .threads = threads, .precision = precision};
}

// An owned, contiguous [rows, cols] matrix in a backend's memory, uninitialised.
template <class T>
class DeviceMat {
 public:
  explicit DeviceMat(MemoryUse use = MemoryUse::kScratch) : use_(use) {}

  // Keeps nothing of the old content; never shrinks its allocation.
  void Resize(const Exec& exec, int64_t rows, int64_t cols) {
    const auto bytes = rows * cols * static_cast<int64_t>(sizeof(T));
    if (bytes > buffer_.bytes()) {
      buffer_ = {};  // before the new one is asked for
      buffer_ = exec.backend->Allocate(bytes, use_);
    }
    rows_ = rows;
    cols_ = cols;
  }
  MatView<T> view() const { return {static_cast<T*>(buffer_.data()), rows_, cols_}; }
  MatView<T> Rows(int64_t begin, int64_t count) const { return view().Rows(begin, count); }
  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  int64_t bytes() const { return buffer_.bytes(); }

 private:
  MemoryUse use_;
  DeviceBuffer buffer_;
  int64_t rows_ = 0;
  int64_t cols_ = 0;
};

// A vector of weights in a backend's memory.
class DeviceVector {
 public:
  DeviceVector() = default;
  // A copy of `values`, which may be empty.
  DeviceVector(const Exec& exec, std::span<const float> values);

  VecView<const float> view() const { return {static_cast<const float*>(buffer_.data()), size_}; }
  const float* data() const { return view().data; }
  int64_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

 private:
  DeviceBuffer buffer_;
  int64_t size_ = 0;
};

// Rows of a quantised matrix, widened to f32 in the host's memory: [rows, cols].
void WidenRows(const Exec& exec, const StoredMatrix& stored, float* to);

// Rows of a backend's matrix in the host's memory.
void DownloadRows(const Exec& exec, MatView<const float> from, HostView<float> to);
void UploadRows(const Exec& exec, HostView<const float> from, MatView<float> to);

}  // namespace pith

#endif  // PITH_OPS_BACKEND_H_
