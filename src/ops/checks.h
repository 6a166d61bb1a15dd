// Checks shared by the operators. A failed one is a bug of the caller, not of a user.
#ifndef PITH_OPS_CHECKS_H_
#define PITH_OPS_CHECKS_H_

#include <cstdint>
#include <span>

#include "core/error.h"
#include "core/exec.h"
#include "core/tensor.h"

namespace pith {

template <class T>
void CheckMatrix(const MatView<T>& m, int64_t rows, int64_t cols) {
  PITH_CHECK(m.rows == rows && m.cols == cols);
  PITH_CHECK(m.empty() || (m.data != nullptr && m.stride >= cols));
}

template <class T>
void CheckVector(const VecView<T>& v, int64_t size) {
  PITH_CHECK(v.size == size && (size == 0 || v.data != nullptr));
}

// Segments lie within `rows` rows, one state each. They need not cover every row.
inline void CheckSegments(std::span<const Segment> segments, const StateSlots& states,
                          int64_t rows) {
  PITH_CHECK(segments.size() == states.size() && states.type == DType::kF32);
  for (const int32_t slot : states.slots) PITH_CHECK(slot >= 0);
  for (const Segment& segment : segments) {
    PITH_CHECK(segment.begin >= 0 && segment.count >= 0);
    PITH_CHECK(segment.begin + segment.count <= rows);
  }
}

}  // namespace pith

#endif  // PITH_OPS_CHECKS_H_
