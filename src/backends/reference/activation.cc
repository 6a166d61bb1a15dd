#include <algorithm>
#include <numbers>

#include "backends/reference/kernels.h"

namespace pith::reference {
namespace {

double Activated(Activation activation, double x) {
  switch (activation) {
    case Activation::kSilu:
      return Silu(x);
    case Activation::kGelu:
      return x * std::erfc(-x / std::numbers::sqrt2) / 2;
    case Activation::kReluSquared:
      break;
  }
  return x > 0 ? x * x : x * 0;  // NaN stays NaN
}

}  // namespace

void Activate(const Exec&, const ActivateArgs& args) {
  for (int64_t r = 0; r < args.out.rows; ++r) {
    for (int64_t c = 0; c < args.out.cols; ++c) {
      const double up = args.up.empty() ? 1 : args.up.Row(r)[c];
      args.out.Row(r)[c] = static_cast<float>(Activated(args.activation, args.gate.Row(r)[c]) * up);
    }
  }
}

}  // namespace pith::reference
