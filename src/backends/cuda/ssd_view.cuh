// What Ssd's and SsdStep's kernels read of SsdArgs.
#ifndef PITH_BACKENDS_CUDA_SSD_VIEW_CUH_
#define PITH_BACKENDS_CUDA_SSD_VIEW_CUH_

#include "backends/cuda/launch.cuh"
#include "ops/ssd.h"

namespace pith::cuda {

struct SsdView {
  Rows<const float> x, b, c, dt;
  Rows<float> y;
  const float* dt_bias;
  const float* a;
  const float* d;
  const Segment* segments;
  const int32_t* slots;
  const int64_t* wanted_from;  // null: all rows
  float* states;
  int64_t state_stride;
  int64_t n_heads, head_dim, d_state, heads_per_group, chunk;
  float dt_min, dt_max;
  bool d_has_hdim;

  __device__ float* StateOf(int64_t segment, int64_t head) const {
    return states + slots[segment] * state_stride + head * d_state * head_dim;
  }
  __device__ float Skip(int64_t head, int64_t p) const {
    return d[d_has_hdim ? head * head_dim + p : head];
  }
  // Δ; NaN stays NaN.
  __device__ float StepSize(float in, int64_t head) const {
    const float step = Softplus(in + dt_bias[head]);
    return step < dt_min ? dt_min : step > dt_max ? dt_max : step;
  }
};

inline SsdView ViewOf(const Exec& exec, const SsdArgs& args) {
  return {.x = args.x,
          .b = args.b,
          .c = args.c,
          .dt = args.dt,
          .y = args.y,
          .dt_bias = args.dt_bias.data,
          .a = args.a.data,
          .d = args.d.data,
          .segments = Place(exec, args.segments),
          .slots = Place(exec, args.states.slots),
          .wanted_from = args.wanted_from.empty() ? nullptr : Place(exec, args.wanted_from),
          .states = args.states.base,
          .state_stride = args.states.stride,
          .n_heads = args.n_heads,
          .head_dim = args.head_dim,
          .d_state = args.d_state,
          .heads_per_group = args.n_heads / args.n_groups,
          .chunk = args.chunk,
          .dt_min = args.dt_min,
          .dt_max = args.dt_max,
          .d_has_hdim = args.d_has_hdim};
}

}  // namespace pith::cuda

#endif  // PITH_BACKENDS_CUDA_SSD_VIEW_CUH_
