// Where and how an operator runs, and the rows it runs over.
#ifndef PITH_CORE_EXEC_H_
#define PITH_CORE_EXEC_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/dtype.h"

namespace pith {

class Backend;  // ops/backend.h

enum class Device : uint8_t {
  kReference,  // scalar, double accumulation, one thread: the executable specification
  kCpu,        // SIMD and a matmul library
  kCuda,
};

// What matrix products read: activations as f32 against weights as stored (the precision of
// record), or both rounded to bf16 or f16 with f32 sums. In place of bf16 the CPU takes f16 with
// scales where that is faster, and sums of 32 products in it (docs/design/0002-matrix-products.md).
enum class Precision : uint8_t { kF32, kBF16, kF16 };

// The order in which a device does what it is asked to, one thing after the other. Backends that
// run on the calling thread have none.
struct Queue {
  void* handle = nullptr;
};

struct Exec {
  Backend* backend = nullptr;  // outlives every use; BackendOf(device) gives it
  Queue queue = {};
  int threads = 1;
  Precision precision = Precision::kF32;
  DType state = DType::kF32;  // what state space states are held as between passes
  // Whether products of many rows with a weight that was prepared as WeightUse::kWide read both in
  // 8 bits (e4m3), each row with a scale of its own. Only where the backend TakesFp8; the precision
  // is kBF16 then, and holds for all other products.
  bool fp8 = false;
};

// Rows [begin, begin + count) of a packed matrix that belong to one sequence, in order. Operators
// that carry state take one state per segment; rows of different segments never mix, and no row's
// result depends on which other rows are packed beside it.
struct Segment {
  int64_t begin = 0;
  int64_t count = 0;
};

// Where the states of some segments lie: in slots of one allocation, `stride` floats apart. Numbers
// of 16 bits lie two in the room of a float.
struct StateSlots {
  float* base = nullptr;  // slot 0, in the backend's memory
  int64_t stride = 0;
  std::span<const int32_t> slots;  // one per segment
  DType type = DType::kF32;        // of the numbers; another one only where an operator says so

  size_t size() const { return slots.size(); }
  float* operator[](size_t segment) const { return base + slots[segment] * stride; }
};

}  // namespace pith

#endif  // PITH_CORE_EXEC_H_
