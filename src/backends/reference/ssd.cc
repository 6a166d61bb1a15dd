#include <algorithm>
#include <vector>

#include "backends/reference/kernels.h"

namespace pith::reference {
namespace {

void RunHead(const SsdArgs& args, Segment segment, int64_t h, float* state) {
  const int64_t d_state = args.d_state;
  const int64_t head_dim = args.head_dim;
  const int64_t group = h / (args.n_heads / args.n_groups);
  std::vector<double> s(state, state + d_state * head_dim);
  for (int64_t t = segment.begin; t < segment.begin + segment.count; ++t) {
    const double dt =
        std::clamp<double>(Softplus(static_cast<double>(args.dt.Row(t)[h]) + args.dt_bias.data[h]),
                           args.dt_min, args.dt_max);
    const double decay = std::exp(dt * args.a.data[h]);
    const float* x = args.x.Row(t) + h * head_dim;
    const float* b = args.b.Row(t) + group * d_state;
    const float* c = args.c.Row(t) + group * d_state;
    for (int64_t p = 0; p < head_dim; ++p) {
      double y = static_cast<double>(args.d.data[args.d_has_hdim ? h * head_dim + p : h]) * x[p];
      for (int64_t n = 0; n < d_state; ++n) {
        double& cell = s[n * head_dim + p];
        cell = decay * cell + dt * b[n] * x[p];
        y += c[n] * cell;
      }
      args.y.Row(t)[h * head_dim + p] = static_cast<float>(y);
    }
    // The state is f32 between chunks: cuts at their ends give the same bits.
    if ((t - segment.begin + 1) % args.chunk == 0) {
      for (double& cell : s) cell = static_cast<float>(cell);
    }
  }
  std::copy(s.begin(), s.end(), state);
}

}  // namespace

void Ssd(const Exec&, const SsdArgs& args) {
  for (size_t s = 0; s < args.segments.size(); ++s) {
    for (int64_t h = 0; h < args.n_heads; ++h) {
      RunHead(args, args.segments[s], h, args.states[s] + h * args.d_state * args.head_dim);
    }
  }
}

}  // namespace pith::reference
