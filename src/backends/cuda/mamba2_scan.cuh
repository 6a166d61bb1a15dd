// Mamba-2 between its projections on tensor cores: what all heads of a group read of a chunk is
// made first, then one kernel convolves x, runs the chunked state space layer and the gate, and
// leaves the sums of squares of the gated norm.
#ifndef PITH_BACKENDS_CUDA_MAMBA2_SCAN_CUH_
#define PITH_BACKENDS_CUDA_MAMBA2_SCAN_CUH_

#include "core/exec.h"
#include "ops/fused.h"

namespace pith::cuda {

// What the kernels are compiled for.
inline constexpr int kScanState = 128;  // d_state
inline constexpr int kScanHead = 64;    // head_dim
inline constexpr int kScanTaps = 4;     // d_conv
inline constexpr int kScanChunk = 64;   // rows a chunk

// T: bf16 or f16. All pointers but those in `ssd`, `conv` and `gate` that are host spans are the
// device's.
template <class T>
struct Mamba2ScanArgs {
  const CausalConv1dArgs* conv;  // weights, states and segments; x and out unused
  const SsdArgs* ssd;            // shapes, constants and states; x, b, c, dt and y unused
  const GateArgs* gate;          // norm weight and order
  const T* proj;                 // [rows, stride]: z, x, B, C, Δ
  int64_t rows;
  int64_t stride;
  T* bc;           // [rows, 2 · n_groups · d_state]: scratch, B and C after the convolution
  T* gated;        // [rows, d_inner]: y · silu(z) · norm weight, without the norm's factor
  float* squares;  // [rows, n_heads]: sums of squares of what the norm is taken of
  // What policies read, in f32, or null: the convolution's output and y.
  float* kept_conv;  // [rows, conv_channels]
  float* kept_y;     // [rows, d_inner]
  // [rows, n_heads], or null: HeadImportance of y.
  float* importance;
  ImportanceKind importance_kind;
};

template <class T>
void Mamba2Scan(const Exec& exec, const Mamba2ScanArgs<T>& args);

}  // namespace pith::cuda

#endif  // PITH_BACKENDS_CUDA_MAMBA2_SCAN_CUH_
