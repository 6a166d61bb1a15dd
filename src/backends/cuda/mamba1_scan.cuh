// Mamba-1 between its projections, with rows in 16 bits.
#ifndef PITH_BACKENDS_CUDA_MAMBA1_SCAN_CUH_
#define PITH_BACKENDS_CUDA_MAMBA1_SCAN_CUH_

#include <cstdint>

#include "core/exec.h"
#include "ops/mamba1_mixer.h"

namespace pith::cuda {

// What the kernels are compiled for.
inline constexpr int kMamba1State = 16;     // d_state
inline constexpr int kMamba1Taps = 4;       // d_conv
inline constexpr int kMamba1Channels = 64;  // divides d_inner
inline constexpr int kMamba1Rank = 256;     // dt_rank is a multiple of 8, at most this

// T: bf16 or f16.
template <class T>
struct Mamba1Rows {
  int64_t rows;
  const T* proj;  // [rows, 2 d_inner]: x, z
  T* conv;        // [rows, d_inner]: x behind the convolution; the scan puts y · silu(z) there
  const T* bc;    // [rows, bc_stride]: B, C
  int64_t bc_stride;
  const T* dt;  // [rows, d_inner], without its bias
};

// proj's x → rows.conv; updates the states of args.conv.
template <class T>
void Mamba1Conv(const Exec& exec, const CausalConv1dArgs& args, const Mamba1Rows<T>& rows);

// Updates the states of args.scan; y before the gate goes to args.kept_y, where that is given.
template <class T>
void Mamba1Scan(const Exec& exec, const Mamba1MixerArgs& args, const Mamba1Rows<T>& rows);

// Steps, one row a sequence: args.step_proj → conv [rows, d_inner].
template <class T>
void Mamba1StepConv(const Exec& exec, const Mamba1MixerArgs& args, T* conv);

// Then, x_proj's outputs being in args.kept_bcdt: dt_proj, the recurrence and the gate → gated
// [rows, d_inner].
template <class T>
void Mamba1Step(const Exec& exec, const Mamba1MixerArgs& args, const T* conv, T* gated);

}  // namespace pith::cuda

#endif  // PITH_BACKENDS_CUDA_MAMBA1_SCAN_CUH_
