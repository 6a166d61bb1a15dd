// Moving and adding rows: bound by memory, so that plain loops, which the compiler vectorises, do.
#include "ops/rows.h"

#include <cstring>

#include "backends/cpu/kernels.h"
#include "core/parallel.h"

namespace pith::cpu {
namespace {

// fn(row) for each row of out, in tasks of some 16,384 floats.
template <class Fn>
void ForRows(const Exec& exec, const MatView<float>& out, const Fn& fn) {
  const int64_t block = std::max<int64_t>(1, 16384 / out.cols);
  ParallelFor(ThreadsFor(exec, out.rows * out.cols), CeilDiv(out.rows, block), [&](int64_t b) {
    for (int64_t r = b * block; r < std::min(out.rows, (b + 1) * block); ++r) fn(r);
  });
}

// out may be a or b.
void AddRow(const float* a, const float* b, int64_t cols, float* out) {
  for (int64_t c = 0; c < cols; ++c) out[c] = a[c] + b[c];
}

}  // namespace

void CopyRows(const Exec& exec, MatView<const float> in, MatView<float> out) {
  ForRows(exec, out,
          [&](int64_t r) { std::memcpy(out.Row(r), in.Row(r), out.cols * sizeof(float)); });
}

void AddRows(const Exec& exec, MatView<const float> a, MatView<const float> b, MatView<float> out) {
  ForRows(exec, out, [&](int64_t r) { AddRow(a.Row(r), b.Row(r), out.cols, out.Row(r)); });
}

void ClipRows(const Exec& exec, MatView<const float> in, MatView<float> out) {
  ForRows(exec, out, [&](int64_t r) {
    const float* const from = in.Row(r);
    float* const to = out.Row(r);
    for (int64_t c = 0; c < out.cols; ++c) to[c] = from[c] < 0 ? 0 : from[c];
  });
}

void ScaleRows(const Exec& exec, MatView<const float> in, float factor, MatView<float> out) {
  ForRows(exec, out, [&](int64_t r) {
    const float* const from = in.Row(r);
    float* const to = out.Row(r);
    for (int64_t c = 0; c < out.cols; ++c) to[c] = factor * from[c];
  });
}

void GatherRows(const Exec& exec, const GatherRowsArgs& args) {
  ForRows(exec, args.out, [&](int64_t r) {
    const float* const a = args.a.Row(args.a_rows[r]);
    if (args.b.empty()) {
      std::memcpy(args.out.Row(r), a, args.out.cols * sizeof(float));
    } else {
      AddRow(a, args.b.Row(args.b_rows[r]), args.out.cols, args.out.Row(r));
    }
  });
}

void TakeRows(const Exec& exec, const TakeRowsArgs& args) {
  ForRows(exec, args.out, [&](int64_t r) {
    const int64_t from = args.rows.empty() ? r : args.rows.data[r];
    if (args.b.empty()) {
      std::memcpy(args.out.Row(r), args.a.Row(from), args.out.cols * sizeof(float));
    } else {
      AddRow(args.a.Row(from), args.b.Row(from), args.out.cols, args.out.Row(r));
    }
  });
}

}  // namespace pith::cpu
