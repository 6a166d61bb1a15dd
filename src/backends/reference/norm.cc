#include <vector>

#include "backends/reference/kernels.h"

namespace pith::reference {

void AddNorm(const Exec&, const AddNormArgs& args) {
  const int64_t d = args.x.cols;
  std::vector<double> s(d);
  for (int64_t i = 0; i < args.x.rows; ++i) {
    double mean = 0;
    for (int64_t j = 0; j < d; ++j) {
      // The residual branch is f32: the norm reads the sum as it is stored.
      s[j] = args.x.Row(i)[j] + (args.add.empty() ? 0.0f : args.add.Row(i)[j]);
      if (!args.sum.empty()) args.sum.Row(i)[j] = static_cast<float>(s[j]);
      mean += s[j] / d;
    }
    if (!args.layer_norm) mean = 0;
    double square = 0;
    for (double v : s) square += (v - mean) * (v - mean) / d;
    const double scale = 1 / std::sqrt(square + args.eps);
    for (int64_t j = 0; j < d; ++j) {
      const double bias = args.layer_norm && args.bias.data ? args.bias.data[j] : 0;
      const double weight = args.weight.data ? args.weight.data[j] : 1;
      args.out.Row(i)[j] = static_cast<float>((s[j] - mean) * scale * weight + bias);
    }
  }
}

void Gate(const Exec&, const GateArgs& args) {
  const int64_t group = args.norm_weight.data ? args.group : args.y.cols;
  std::vector<double> v(group);
  for (int64_t i = 0; i < args.y.rows; ++i) {
    for (int64_t begin = 0; begin < args.y.cols; begin += group) {
      const float* y = args.y.Row(i) + begin;
      const float* z = args.z.Row(i) + begin;
      double square = 0;
      for (int64_t j = 0; j < group; ++j) {
        v[j] = args.norm_before_gate ? y[j] : y[j] * Silu(z[j]);
        square += v[j] * v[j] / group;
      }
      const double scale = args.norm_weight.data ? 1 / std::sqrt(square + args.eps) : 1;
      for (int64_t j = 0; j < group; ++j) {
        const double weight = args.norm_weight.data ? args.norm_weight.data[begin + j] : 1;
        const double gate = args.norm_before_gate ? Silu(z[j]) : 1;
        args.out.Row(i)[begin + j] = static_cast<float>(v[j] * scale * weight * gate);
      }
    }
  }
}

}  // namespace pith::reference
