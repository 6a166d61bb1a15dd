// Vectors that a test fills and reads on the host, and that the kernels of the device under test
// reach too: what a test hands to an operator as a MatView, VecView or StateSlots lies in one.
#ifndef PITH_TESTS_SHARED_MEMORY_H_
#define PITH_TESTS_SHARED_MEMORY_H_

#include <cstddef>
#include <vector>

namespace pith::testing {

// For cuda, page-locked memory that GPUs read and write where it lies; else the heap's, so that a
// sanitizer sees each vector's ends. Called once a device is chosen.
void* AllocateShared(size_t bytes);
void FreeShared(void* data, size_t bytes) noexcept;

template <class T>
struct SharedAllocator {
  using value_type = T;

  SharedAllocator() = default;
  template <class U>
  SharedAllocator(const SharedAllocator<U>& /*other*/) {}  // NOLINT: rebinding is implicit

  T* allocate(size_t count) { return static_cast<T*>(AllocateShared(count * sizeof(T))); }
  void deallocate(T* data, size_t count) noexcept { FreeShared(data, count * sizeof(T)); }

  template <class U>
  bool operator==(const SharedAllocator<U>& /*other*/) const {
    return true;
  }
};

template <class T>
using Shared = std::vector<T, SharedAllocator<T>>;

}  // namespace pith::testing

#endif  // PITH_TESTS_SHARED_MEMORY_H_
