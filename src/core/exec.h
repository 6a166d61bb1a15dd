// Where and how an operator runs, and the rows it runs over.
#ifndef PITH_CORE_EXEC_H_
#define PITH_CORE_EXEC_H_

#include <cstdint>
#include <span>

namespace pith {

enum class Device : uint8_t {
  kReference,  // scalar, double accumulation, one thread: the executable specification
  kCpu,        // SIMD and a matmul library
  kCuda,
};

// What matrix products read: activations as f32 against weights as stored (the precision of
// record), or both rounded to bf16 with f32 sums.
enum class Precision : uint8_t { kF32, kBF16 };

struct Exec {
  Device device = Device::kCpu;
  int threads = 1;
  Precision precision = Precision::kF32;
};

// Rows [begin, begin + count) of a packed matrix that belong to one sequence, in order. Operators
// that carry state take one state pointer per segment; rows of different segments never mix, and
// no row's result depends on which other rows are packed beside it.
struct Segment {
  int64_t begin = 0;
  int64_t count = 0;
};

}  // namespace pith

#endif  // PITH_CORE_EXEC_H_
