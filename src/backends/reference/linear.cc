#include "backends/reference/kernels.h"

namespace pith::reference {

void Embed(const Exec&, const WeightView& table, std::span<const int32_t> ids, MatView<float> out) {
  VisitFloat(table.dtype, [&]<class T>() {
    for (int64_t i = 0; i < out.rows; ++i) {
      const T* row = static_cast<const T*>(table.data) + (table.first + ids[i]) * table.cols;
      for (int64_t j = 0; j < table.cols; ++j) out.Row(i)[j] = ToFloat(row[j]);
    }
  });
}

void Linear(const Exec& exec, MatView<const float> x, const WeightView& w,
            VecView<const float> bias, MatView<float> out) {
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
