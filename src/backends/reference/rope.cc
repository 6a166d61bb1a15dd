#include "backends/reference/kernels.h"

namespace pith::reference {

void Rope(const Exec&, const RopeArgs& args) {
  const auto pairs = static_cast<int64_t>(args.frequencies.size());
  const bool half = args.pairing == RopePairing::kHalf;
  for (int64_t r = 0; r < args.x.rows; ++r) {
    for (int64_t h = 0; h < args.n_heads; ++h) {
      float* const x = args.x.Row(r) + h * args.head_dim;
      for (int64_t i = 0; i < pairs; ++i) {
        const double angle = args.positions[r] * args.frequencies[i];
        const double cosine = args.factor * std::cos(angle), sine = args.factor * std::sin(angle);
        float& first = x[half ? i : 2 * i];
        float& second = x[half ? i + pairs : 2 * i + 1];
        const double a = first, b = second;
        first = static_cast<float>(a * cosine - b * sine);
        second = static_cast<float>(b * cosine + a * sine);
      }
    }
  }
}

}  // namespace pith::reference
