#include <algorithm>
#include <vector>

#include "backends/reference/kernels.h"

namespace pith::reference {

void SelectiveScan(const Exec&, const SelectiveScanArgs& args) {
  const int64_t d_inner = args.d_inner;
  for (size_t s = 0; s < args.segments.size(); ++s) {
    const Segment segment = args.segments[s];
    float* stored = args.states[s];
    std::vector<double> state(stored, stored + args.d_state * d_inner);
    for (int64_t t = segment.begin; t < segment.begin + segment.count; ++t) {
      for (int64_t c = 0; c < d_inner; ++c) {
        const double x = args.x.Row(t)[c];
        const double dt = Softplus(static_cast<double>(args.dt.Row(t)[c]) + args.dt_bias.data[c]);
        double y = args.y.empty() ? 0 : args.d.data[c] * x;
        for (int64_t n = 0; n < args.d_state; ++n) {
          double& cell = state[n * d_inner + c];
          cell = std::exp(dt * args.a.data[n * d_inner + c]) * cell + dt * args.b.Row(t)[n] * x;
          cell = static_cast<float>(cell);  // the state is f32 between rows: any cut, same bits
          if (!args.y.empty()) y += args.c.Row(t)[n] * cell;
        }
        if (!args.y.empty()) args.y.Row(t)[c] = static_cast<float>(y);
      }
    }
    std::copy(state.begin(), state.end(), stored);
  }
}

}  // namespace pith::reference
