#include "ops/state_write.h"

#include "backends/reference/kernels.h"

namespace pith::reference {

void StateWrite(const Exec& /*exec*/, const StateWriteArgs& args) {
  for (int64_t n = 0; n < args.b.cols; ++n) {
    for (int64_t p = 0; p < args.x.cols; ++p) {
      float& cell = args.state[n * args.x.cols + p];
      double sum = static_cast<double>(args.decay) * cell;
      for (int64_t t = 0; t < args.x.rows; ++t) {
        sum += static_cast<double>(args.weight[t]) * args.b.Row(t)[n] * args.x.Row(t)[p];
      }
      cell = static_cast<float>(sum);
    }
  }
}

}  // namespace pith::reference
