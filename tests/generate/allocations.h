// What the test program takes of the heap by operator new, which is all that pith takes on the CPU.
#ifndef TESTS_GENERATE_ALLOCATIONS_H_
#define TESTS_GENERATE_ALLOCATIONS_H_

#include <cstdint>

namespace pith::testing {

struct Allocations {
  int64_t count = 0;
  int64_t largest = 0;  // bytes

  bool operator==(const Allocations&) const = default;
};

// Of all threads since the last call. Reading them allocates nothing.
Allocations TakeAllocations();

}  // namespace pith::testing

#endif  // TESTS_GENERATE_ALLOCATIONS_H_
