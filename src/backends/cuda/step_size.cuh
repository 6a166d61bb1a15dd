// Step sizes in double, for operators that sum or rank them.
#ifndef PITH_BACKENDS_CUDA_STEP_SIZE_CUH_
#define PITH_BACKENDS_CUDA_STEP_SIZE_CUH_

namespace pith::cuda {

// clamp(softplus(dt + bias), low, high). NaN stays NaN.
__device__ inline double StepSize(float dt, float bias, float low, float high) {
  const double raw = static_cast<double>(dt) + bias;
  const double step = fmax(raw, 0.0) + log1p(exp(-fabs(raw)));
  if (step < low) return low;
  return step > high ? high : step;
}

}  // namespace pith::cuda

#endif  // PITH_BACKENDS_CUDA_STEP_SIZE_CUH_
