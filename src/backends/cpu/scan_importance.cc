#include "ops/scan_importance.h"

#include <cmath>
#include <vector>

#include "backends/cpu/kernels.h"
#include "core/parallel.h"

namespace pith::cpu {
namespace {

// Sums over fixed slices of units are added in slice order, so that threads change no bit.
constexpr int64_t kSlice = 64;

struct Sums {
  const ScanShape& shape;
  const float* a;
  MatView<const float> rows;
  ImportanceKind kind;

  const float* B(int64_t t) const { return rows.Row(t) + 2 * shape.units; }
  const float* C(int64_t t) const { return B(t) + shape.bc_width(); }

  // Σ_n of what unit `u` writes per state (squared), or of what the last row reads of it, `after`
  // being T_u(t).
  double OverStates(int64_t t, int64_t u, double after) const {
    const int64_t first = u / (shape.units / shape.groups) * shape.d_state;
    const float* b = B(t) + first;
    const float* last = C(rows.rows - 1) + first;
    const bool reads = kind == ImportanceKind::kLastRow;
    const double power = kind == ImportanceKind::kStateWrite ? 0 : (reads ? 1 : 2);
    double sum = 0;
    for (int64_t n = 0; n < shape.d_state; ++n) {
      const double term = static_cast<double>(b[n]) * (reads ? last[n] : b[n]);
      sum += shape.a_per_state && power > 0
                 ? term * std::exp(power * a[n * shape.units + u] * after)
                 : term;
    }
    return shape.a_per_state ? sum : sum * std::exp(power * a[u] * after);
  }

  // out[t] = the sum over units [begin, end).
  void Slice(int64_t begin, int64_t end, double* out) const {
    std::vector<double> after(end - begin);
    for (int64_t t = rows.rows - 1; t >= 0; --t) {
      double sum = 0;
      for (int64_t u = begin; u < end; ++u) {
        const double delta = rows.Row(t)[u];
        const double write = delta * rows.Row(t)[shape.units + u];
        if (kind == ImportanceKind::kDelta) {
          sum += delta;
        } else {
          sum += (kind == ImportanceKind::kLastRow ? delta : write * write) *
                 OverStates(t, u, after[u - begin]);
        }
        after[u - begin] += delta;
      }
      out[t] = sum;
    }
  }
};

void TailQuery(const Sums& sums, int64_t tail, VecView<float> importance) {
  const int64_t width = sums.shape.bc_width();
  std::vector<double> query(width);
  for (int64_t t = std::max<int64_t>(0, sums.rows.rows - tail); t < sums.rows.rows; ++t) {
    for (int64_t n = 0; n < width; ++n) query[n] += sums.C(t)[n];
  }
  double qq = 0;
  for (double q : query) qq += q * q;
  for (int64_t t = 0; t < sums.rows.rows; ++t) {
    double dot = 0, bb = 0;
    for (int64_t n = 0; n < width; ++n) {
      const double b = sums.B(t)[n];
      dot += b * query[n];
      bb += b * b;
    }
    const double norms = std::sqrt(qq) * std::sqrt(bb);
    importance.data[t] = norms == 0 ? 0.0f : static_cast<float>(dot / norms);
  }
}

}  // namespace

void ScanImportance(const Exec& exec, const ScanImportanceArgs& args) {
  const ScanShape& shape = args.shape;
  const Sums sums{shape, args.a.data, args.rows, args.kind};
  if (args.kind == ImportanceKind::kTailQuery) {
    TailQuery(sums, std::max<int64_t>(1, args.tail), args.importance);
    return;
  }
  const int64_t rows = args.rows.rows;
  const int64_t slices = CeilDiv(shape.units, kSlice);
  MatOwner<double> parts(slices, rows);
  const int threads = ThreadsFor(exec, rows * shape.units * shape.d_state);
  ParallelFor(threads, slices, [&](int64_t s) {
    sums.Slice(s * kSlice, std::min(shape.units, (s + 1) * kSlice), parts.view().Row(s));
  });
  const bool mean = args.kind == ImportanceKind::kDelta || args.kind == ImportanceKind::kLastRow;
  for (int64_t t = 0; t < rows; ++t) {
    double sum = 0;
    for (int64_t s = 0; s < slices; ++s) sum += parts.view().Row(s)[t];
    args.importance.data[t] =
        static_cast<float>(mean ? sum / static_cast<double>(shape.units) : std::sqrt(sum));
  }
}

}  // namespace pith::cpu
