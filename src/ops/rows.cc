#include "ops/rows.h"

#include "ops/checks.h"
#include "ops/kernels.h"

namespace pith {
namespace {

void CheckIndices(std::span<const int64_t> indices, int64_t rows) {
  for (const int64_t row : indices) PITH_CHECK(row >= 0 && row < rows);
}

}  // namespace

void CopyRows(const Exec& exec, MatView<const float> in, MatView<float> out) {
  CheckMatrix(in, out.rows, out.cols);
  CheckMatrix(out, in.rows, in.cols);
  if (out.empty()) return;
  KernelsFor(exec).copy_rows(exec, in, out);
}

void AddRows(const Exec& exec, MatView<const float> a, MatView<const float> b, MatView<float> out) {
  CheckMatrix(a, out.rows, out.cols);
  CheckMatrix(b, out.rows, out.cols);
  CheckMatrix(out, a.rows, a.cols);
  if (out.empty()) return;
  KernelsFor(exec).add_rows(exec, a, b, out);
}

void ClipRows(const Exec& exec, MatView<const float> in, MatView<float> out) {
  CheckMatrix(in, out.rows, out.cols);
  CheckMatrix(out, in.rows, in.cols);
  if (out.empty()) return;
  KernelsFor(exec).clip_rows(exec, in, out);
}

void ScaleRows(const Exec& exec, MatView<const float> in, float factor, MatView<float> out) {
  CheckMatrix(in, out.rows, out.cols);
  CheckMatrix(out, in.rows, in.cols);
  if (out.empty()) return;
  KernelsFor(exec).scale_rows(exec, in, factor, out);
}

void GatherRows(const Exec& exec, const GatherRowsArgs& args) {
  CheckMatrix(args.a, args.a.rows, args.out.cols);
  CheckMatrix(args.out, static_cast<int64_t>(args.a_rows.size()), args.a.cols);
  CheckIndices(args.a_rows, args.a.rows);
  if (!args.b.empty()) {
    CheckMatrix(args.b, args.b.rows, args.out.cols);
    CheckIndices(args.b_rows, args.b.rows);
  }
  PITH_CHECK(args.b_rows.size() == (args.b.empty() ? 0 : args.a_rows.size()));
  if (args.out.empty()) return;
  KernelsFor(exec).gather_rows(exec, args);
}

void TakeRows(const Exec& exec, const TakeRowsArgs& args) {
  CheckMatrix(args.a, args.a.rows, args.out.cols);
  CheckMatrix(args.out, args.rows.empty() ? args.a.rows : args.rows.size, args.a.cols);
  if (!args.b.empty()) CheckMatrix(args.b, args.a.rows, args.a.cols);
  if (args.out.empty()) return;
  KernelsFor(exec).take_rows(exec, args);
}

}  // namespace pith
