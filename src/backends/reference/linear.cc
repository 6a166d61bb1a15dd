#include <algorithm>
#include <vector>

#include "backends/reference/kernels.h"
#include "core/blocks.h"
#include "core/quantise.h"

namespace pith::reference {
namespace {

// The matrix that a view of rows shows, whole.
StoredMatrix MatrixOf(const WeightView& w) {
  return {w.dtype, w.data, w.first + w.rows, w.cols, w.scales};
}

// Row i of x as products with quantised weights read it.
std::vector<double> QuantisedInput(MatView<const float> x, int64_t i) {
  std::vector<double> row(static_cast<size_t>(x.cols));
  for (int64_t begin = 0; begin < x.cols; begin += kActivationGroup) {
    const int64_t count = std::min(kActivationGroup, x.cols - begin);
    const ActivationGroup group =
        QuantiseActivations({x.Row(i) + begin, static_cast<size_t>(count)});
    for (int64_t k = 0; k < count; ++k) {
      row[begin + k] = static_cast<double>(group.scale) * group.q[k];
    }
  }
  return row;
}

void LinearQuantised(MatView<const float> x, const WeightView& w, VecView<const float> bias,
                     MatView<float> out) {
  std::vector<float> row(static_cast<size_t>(w.cols));
  for (int64_t i = 0; i < x.rows; ++i) {
    const std::vector<double> in = QuantisedInput(x, i);
    for (int64_t j = 0; j < w.rows; ++j) {
      WidenRow(MatrixOf(w), w.first + j, row);
      double sum = bias.empty() ? 0 : bias.data[j];
      for (int64_t k = 0; k < w.cols; ++k) sum += in[k] * row[k];
      out.Row(i)[j] = static_cast<float>(sum);
    }
  }
}

}  // namespace

void Embed(const Exec&, const WeightView& table, std::span<const int32_t> ids, MatView<float> out) {
  for (int64_t i = 0; i < out.rows; ++i) {
    WidenRow(MatrixOf(table), table.first + ids[i],
             std::span(out.Row(i), static_cast<size_t>(table.cols)));
  }
}

void Linear(const Exec& exec, MatView<const float> x, const WeightView& w,
            VecView<const float> bias, MatView<float> out) {
  if (IsQuantised(w.dtype)) return LinearQuantised(x, w, bias, out);
  const auto round = [&exec](float v) { return RoundTo(exec.precision, v); };
  VisitFloat(w.dtype, [&]<class T>() {
    for (int64_t j = 0; j < w.rows; ++j) {
      const T* row = static_cast<const T*>(w.data) + (w.first + j) * w.cols;
      for (int64_t i = 0; i < x.rows; ++i) {
        double sum = bias.empty() ? 0 : bias.data[j];
        for (int64_t k = 0; k < w.cols; ++k) sum += round(x.Row(i)[k]) * round(ToFloat(row[k]));
        out.Row(i)[j] = static_cast<float>(sum);
      }
    }
  });
}

}  // namespace pith::reference
