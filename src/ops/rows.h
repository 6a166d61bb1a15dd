// What moves rows or adds them, without any other arithmetic. Every result is a copy or has one
// rounding, so all backends give the same bits.
#ifndef PITH_OPS_ROWS_H_
#define PITH_OPS_ROWS_H_

#include <cstdint>
#include <span>

#include "core/exec.h"
#include "core/tensor.h"

namespace pith {

// out = in. Both [rows, cols]; they must not overlap.
void CopyRows(const Exec& exec, MatView<const float> in, MatView<float> out);

// out = a + b. All [rows, cols]; out may be a or b itself, and must not overlap them otherwise.
void AddRows(const Exec& exec, MatView<const float> a, MatView<const float> b, MatView<float> out);

// out = max(0, in), where NaN and −0 stay as they are. Both [rows, cols]; out may be in itself.
void ClipRows(const Exec& exec, MatView<const float> in, MatView<float> out);

// out = factor · in. Both [rows, cols]; out may be in itself.
void ScaleRows(const Exec& exec, MatView<const float> in, float factor, MatView<float> out);

struct GatherRowsArgs {
  MatView<const float> a;           // [any, cols]
  std::span<const int64_t> a_rows;  // on the host: rows of a, in any order, repeats allowed
  MatView<const float> b;           // [any, cols], or empty: nothing is added
  std::span<const int64_t> b_rows;  // as many as a_rows where b is given, else empty
  MatView<float> out;               // [a_rows, cols]; must not overlap a or b
};

// out[i] = a[a_rows[i]], or a[a_rows[i]] + b[b_rows[i]].
void GatherRows(const Exec& exec, const GatherRowsArgs& args);

struct TakeRowsArgs {
  MatView<const float> a;       // [any, cols]
  MatView<const float> b;       // the same size as a, or empty: nothing is added
  VecView<const int32_t> rows;  // in the backend's memory, each a row of a; empty: 0, 1, 2, …
  MatView<float> out;           // [taken, cols]; must not overlap a or b
};

// out[i] = a[rows[i]], or a[rows[i]] + b[rows[i]]: GatherRows where the host does not know which.
void TakeRows(const Exec& exec, const TakeRowsArgs& args);

}  // namespace pith

#endif  // PITH_OPS_ROWS_H_
