#include "tests/shared_memory.h"

#include <new>

#include "tests/device.h"

#ifdef PITH_TESTS_CUDA
#include <cuda_runtime.h>

#include <algorithm>
#include <array>
#include <bit>
#include <mutex>
#endif

namespace pith::testing {

#ifdef PITH_TESTS_CUDA
namespace {

// Locking pages takes a call to the driver that waits for the device, so blocks are kept for the
// next vector of their size, a power of two, and small ones are cut from slabs. Nothing is given
// back before the process ends.
class PinnedBlocks {
 public:
  void* Take(size_t bytes) {
    const std::lock_guard lock(mutex_);
    std::vector<void*>& free = free_[Class(bytes)];
    if (free.empty()) Cut(size_t{1} << Class(bytes), free);
    void* const block = free.back();
    free.pop_back();
    return block;
  }
  void Give(void* block, size_t bytes) {
    const std::lock_guard lock(mutex_);
    free_[Class(bytes)].push_back(block);
  }

 private:
  static constexpr size_t kSmallest = 256;
  static constexpr size_t kSlab = size_t{1} << 20;

  static size_t Class(size_t bytes) { return std::bit_width(std::max(bytes, kSmallest) - 1); }

  static void Cut(size_t block, std::vector<void*>& free) {
    const size_t slab = std::max(block, kSlab);
    void* data = nullptr;
    if (cudaHostAlloc(&data, slab, cudaHostAllocPortable | cudaHostAllocMapped) != cudaSuccess) {
      throw std::bad_alloc();
    }
    for (size_t at = slab; at > 0; at -= block) {
      free.push_back(static_cast<std::byte*>(data) + at - block);
    }
  }

  std::mutex mutex_;
  std::array<std::vector<void*>, 64> free_;
};

// Never destroyed: vectors of the program's end may come after it.
PinnedBlocks& Pinned() {
  static auto* const blocks = new PinnedBlocks;
  return *blocks;
}

}  // namespace

void* AllocateShared(size_t bytes) {
  return DeviceUnderTest() == Device::kCuda ? Pinned().Take(bytes) : ::operator new(bytes);
}

void FreeShared(void* data, size_t bytes) noexcept {
  if (DeviceUnderTest() == Device::kCuda) {
    Pinned().Give(data, bytes);
  } else {
    ::operator delete(data);
  }
}

#else

void* AllocateShared(size_t bytes) { return ::operator new(bytes); }
void FreeShared(void* data, size_t /*bytes*/) noexcept { ::operator delete(data); }

#endif

}  // namespace pith::testing
