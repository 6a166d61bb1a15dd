#include "ops/scan_importance.h"

#include <algorithm>
#include <vector>

#include "backends/reference/kernels.h"

namespace pith::reference {
namespace {

// What a row of features holds, by name.
struct Rows {
  const ScanImportanceArgs& args;
  double Delta(int64_t t, int64_t u) const { return args.rows.Row(t)[u]; }
  double X(int64_t t, int64_t u) const { return args.rows.Row(t)[args.shape.units + u]; }
  double B(int64_t t, int64_t i) const { return args.rows.Row(t)[2 * args.shape.units + i]; }
  double C(int64_t t, int64_t i) const { return B(t, args.shape.bc_width() + i); }
  double A(int64_t u, int64_t n) const {
    return args.a.data[args.shape.a_per_state ? n * args.shape.units + u : u];
  }
};

double TailQuery(const Rows& rows, int64_t t) {
  const int64_t count = rows.args.rows.rows;
  const int64_t first = std::max<int64_t>(0, count - std::max<int64_t>(1, rows.args.tail));
  double dot = 0, bb = 0, qq = 0;
  for (int64_t i = 0; i < rows.args.shape.bc_width(); ++i) {
    double query = 0;
    for (int64_t r = first; r < count; ++r) query += rows.C(r, i);
    dot += rows.B(t, i) * query;
    bb += rows.B(t, i) * rows.B(t, i);
    qq += query * query;
  }
  const double norms = std::sqrt(qq) * std::sqrt(bb);
  return norms == 0 ? 0 : dot / norms;
}

// The unit's term of the sum; `after` is T_u(t).
double Term(const Rows& rows, int64_t t, int64_t u, double after) {
  const ScanShape& shape = rows.args.shape;
  if (rows.args.kind == ImportanceKind::kDelta) return rows.Delta(t, u);
  const bool reads = rows.args.kind == ImportanceKind::kLastRow;
  const bool decays = rows.args.kind != ImportanceKind::kStateWrite;
  const int64_t first = u / (shape.units / shape.groups) * shape.d_state;
  double sum = 0;
  for (int64_t n = 0; n < shape.d_state; ++n) {
    const double b = rows.B(t, first + n);
    const double decay = decays ? std::exp(rows.A(u, n) * after) : 1;
    sum += reads ? b * rows.C(rows.args.rows.rows - 1, first + n) * decay : b * b * decay * decay;
  }
  const double write = rows.Delta(t, u) * rows.X(t, u);
  return sum * (reads ? rows.Delta(t, u) : write * write);
}

}  // namespace

void ScanImportance(const Exec& /*exec*/, const ScanImportanceArgs& args) {
  const Rows rows{args};
  const bool mean = args.kind == ImportanceKind::kDelta || args.kind == ImportanceKind::kLastRow;
  std::vector<double> after(args.shape.units, 0.0);
  for (int64_t t = args.rows.rows - 1; t >= 0; --t) {
    if (args.kind == ImportanceKind::kTailQuery) {
      args.importance.data[t] = static_cast<float>(TailQuery(rows, t));
      continue;
    }
    double sum = 0;
    for (int64_t u = 0; u < args.shape.units; ++u) {
      sum += Term(rows, t, u, after[u]);
      after[u] += rows.Delta(t, u);
    }
    args.importance.data[t] =
        static_cast<float>(mean ? sum / static_cast<double>(args.shape.units) : std::sqrt(sum));
  }
}

}  // namespace pith::reference
