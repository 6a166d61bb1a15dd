#include "tests/generate/allocations.h"

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace {

std::atomic<int64_t> count = 0;
std::atomic<int64_t> largest = 0;

void* Allocate(std::size_t size, std::size_t alignment) {
  ++count;
  int64_t before = largest;
  const auto bytes = static_cast<int64_t>(size);
  while (bytes > before && !largest.compare_exchange_weak(before, bytes)) {
  }
  size = (size + alignment - 1) / alignment * alignment;
  void* const data = std::aligned_alloc(alignment, size == 0 ? alignment : size);
  if (data == nullptr) throw std::bad_alloc();
  return data;
}

}  // namespace

void* operator new(std::size_t size) { return Allocate(size, alignof(std::max_align_t)); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  return Allocate(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* data) noexcept { std::free(data); }
void operator delete(void* data, std::size_t) noexcept { std::free(data); }
void operator delete(void* data, std::align_val_t) noexcept { std::free(data); }
void operator delete(void* data, std::size_t, std::align_val_t) noexcept { std::free(data); }

namespace pith::testing {

Allocations TakeAllocations() {
  return {.count = count.exchange(0), .largest = largest.exchange(0)};
}

}  // namespace pith::testing
