#include "ops/far_write.h"

#include <vector>

#include "backends/reference/kernels.h"

namespace pith::reference {
namespace {

// The convolution's inputs [d_conv − 1 + far, channels]: the state's, then the rows' projections.
std::vector<double> Inputs(const Exec& exec, const FarWriteArgs& args) {
  const auto round = [&exec](float v) { return RoundTo(exec.precision, v); };
  const int64_t channels = args.w.rows;
  std::vector<double> in(args.conv_state, args.conv_state + (args.d_conv - 1) * channels);
  VisitFloat(args.w.dtype, [&]<class T>() {
    for (int64_t t = 0; t < args.region.far; ++t) {
      for (int64_t c = 0; c < channels; ++c) {
        const T* const row = static_cast<const T*>(args.w.data) + (args.w.first + c) * args.w.cols;
        double sum = args.bias.empty() ? 0 : args.bias.data[c];
        for (int64_t k = 0; k < args.w.cols; ++k) {
          sum += round(args.rows.Row(t)[k]) * round(ToFloat(row[k]));
        }
        in.push_back(sum);
      }
    }
  });
  return in;
}

double Convolved(const FarWriteArgs& args, const std::vector<double>& in, int64_t t, int64_t c) {
  double sum = args.conv_bias.empty() ? 0 : args.conv_bias.data[c];
  for (int64_t k = 0; k < args.d_conv; ++k) {
    sum += args.conv_weight.data[c * args.d_conv + k] * in[(t + k) * args.w.rows + c];
  }
  return Silu(sum);
}

}  // namespace

void FarWrite(const Exec& exec, const FarWriteArgs& args) {
  const std::vector<double> in = Inputs(exec, args);
  const int64_t chunks = CountChunks(args.region);
  const int64_t size = args.d_state * args.head_dim;
  for (int64_t h = 0; h < args.n_heads; ++h) {
    const int64_t first_b =
        args.n_heads * args.head_dim + h / (args.n_heads / args.n_groups) * args.d_state;
    float* const state = args.ssm_state + h * size;
    std::vector<double> sums;
    for (int64_t i = 0; i < size; ++i) {
      sums.push_back(static_cast<double>(args.decay.data[h]) * state[i]);
    }
    for (const RowRun& run : NeededRuns(args.region, args.needed.subspan(h * chunks, chunks))) {
      for (int64_t t = run.begin; t < run.end; ++t) {
        std::vector<double> x;
        for (int64_t p = 0; p < args.head_dim; ++p) {
          x.push_back(args.weight.Row(h)[t] * Convolved(args, in, t, h * args.head_dim + p));
        }
        for (int64_t n = 0; n < args.d_state; ++n) {
          const double b = Convolved(args, in, t, first_b + n);
          for (int64_t p = 0; p < args.head_dim; ++p) sums[n * args.head_dim + p] += b * x[p];
        }
      }
    }
    for (int64_t i = 0; i < size; ++i) state[i] = static_cast<float>(sums[i]);
  }
  const int64_t past = (args.d_conv - 1) * args.w.rows;
  for (int64_t i = 0; i < past; ++i) {
    args.conv_state[i] = static_cast<float>(in[args.region.far * args.w.rows + i]);
  }
}

}  // namespace pith::reference
