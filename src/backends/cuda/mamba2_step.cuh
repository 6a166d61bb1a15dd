// Mamba-2 between its projections for one row a sequence, by the plain recurrence.
#ifndef PITH_BACKENDS_CUDA_MAMBA2_STEP_CUH_
#define PITH_BACKENDS_CUDA_MAMBA2_STEP_CUH_

#include "core/exec.h"
#include "ops/mamba2_mixer.h"

namespace pith::cuda {

// proj [rows, stride] f32: z, x, B, C, Δ. gated [rows, d_inner]: without the norm's factor, whose
// sums of squares go to args.squares. States of args.conv and args.ssd are updated.
template <class T>
void Mamba2Step(const Exec& exec, const Mamba2MixerArgs& args, const float* proj, int64_t stride,
                T* gated);

}  // namespace pith::cuda

#endif  // PITH_BACKENDS_CUDA_MAMBA2_STEP_CUH_
