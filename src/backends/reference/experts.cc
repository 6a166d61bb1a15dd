#include "backends/reference/kernels.h"

namespace pith::reference {

void AddScaledRows(const Exec&, const AddScaledRowsArgs& args) {
  for (int64_t i = 0; i < args.x.rows; ++i) {
    float* const out = args.out.Row(args.rows.data[i]);
    const double weight = args.weights.data[i];
    for (int64_t c = 0; c < args.x.cols; ++c) {
      out[c] = static_cast<float>(out[c] + weight * args.x.Row(i)[c]);
    }
  }
}

}  // namespace pith::reference
