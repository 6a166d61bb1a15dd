#include <vector>

#include "backends/reference/kernels.h"

namespace pith::reference {

void CausalConv1d(const Exec&, const CausalConv1dArgs& args) {
  const int64_t channels = args.x.cols;
  const int64_t past = args.d_conv - 1;
  for (size_t s = 0; s < args.segments.size(); ++s) {
    const Segment segment = args.segments[s];
    for (int64_t c = 0; c < channels; ++c) {
      std::vector<float> inputs;  // of this channel: the state's, then the segment's
      for (int64_t k = 0; k < past; ++k) inputs.push_back(args.states[s][k * channels + c]);
      for (int64_t t = 0; t < segment.count; ++t) {
        inputs.push_back(args.x.Row(segment.begin + t)[c]);
      }
      for (int64_t t = 0; t < segment.count; ++t) {
        double sum = args.bias.data ? args.bias.data[c] : 0;
        for (int64_t k = 0; k < args.d_conv; ++k) {
          sum += static_cast<double>(args.weight.data[c * args.d_conv + k]) * inputs[t + k];
        }
        args.out.Row(segment.begin + t)[c] = static_cast<float>(Silu(sum));
      }
      for (int64_t k = 0; k < past; ++k) {
        args.states[s][k * channels + c] = inputs[segment.count + k];
      }
    }
  }
}

}  // namespace pith::reference
