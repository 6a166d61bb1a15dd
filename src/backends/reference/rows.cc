#include "ops/rows.h"

#include "backends/reference/kernels.h"

namespace pith::reference {

void CopyRows(const Exec& /*exec*/, MatView<const float> in, MatView<float> out) {
  for (int64_t r = 0; r < out.rows; ++r) {
    for (int64_t c = 0; c < out.cols; ++c) out.Row(r)[c] = in.Row(r)[c];
  }
}

void AddRows(const Exec& /*exec*/, MatView<const float> a, MatView<const float> b,
             MatView<float> out) {
  for (int64_t r = 0; r < out.rows; ++r) {
    for (int64_t c = 0; c < out.cols; ++c) {
      out.Row(r)[c] = static_cast<float>(static_cast<double>(a.Row(r)[c]) + b.Row(r)[c]);
    }
  }
}

void ClipRows(const Exec& /*exec*/, MatView<const float> in, MatView<float> out) {
  for (int64_t r = 0; r < out.rows; ++r) {
    for (int64_t c = 0; c < out.cols; ++c) out.Row(r)[c] = in.Row(r)[c] < 0 ? 0 : in.Row(r)[c];
  }
}

void ScaleRows(const Exec& /*exec*/, MatView<const float> in, float factor, MatView<float> out) {
  for (int64_t r = 0; r < out.rows; ++r) {
    for (int64_t c = 0; c < out.cols; ++c) {
      out.Row(r)[c] = static_cast<float>(double{factor} * in.Row(r)[c]);
    }
  }
}

void GatherRows(const Exec& /*exec*/, const GatherRowsArgs& args) {
  for (int64_t r = 0; r < args.out.rows; ++r) {
    for (int64_t c = 0; c < args.out.cols; ++c) {
      double value = args.a.Row(args.a_rows[r])[c];
      if (!args.b.empty()) value += args.b.Row(args.b_rows[r])[c];
      args.out.Row(r)[c] = static_cast<float>(value);
    }
  }
}

void TakeRows(const Exec& /*exec*/, const TakeRowsArgs& args) {
  for (int64_t r = 0; r < args.out.rows; ++r) {
    const int64_t from = args.rows.empty() ? r : args.rows.data[r];
    for (int64_t c = 0; c < args.out.cols; ++c) {
      double value = args.a.Row(from)[c];
      if (!args.b.empty()) value += args.b.Row(from)[c];
      args.out.Row(r)[c] = static_cast<float>(value);
    }
  }
}

}  // namespace pith::reference
