// What the kernels of FarLayers share. A *pair* is a layer and a text; pairs of a batch stand text
// after text within layer after layer, so that blocks that read the same weights begin together.
// "Head" counts the heads of all pairs, pair after pair.
#ifndef PITH_BACKENDS_CUDA_FAR_LAYERS_CUH_
#define PITH_BACKENDS_CUDA_FAR_LAYERS_CUH_

#include "backends/cuda/launch.cuh"
#include "backends/cuda/mamba2_scan.cuh"
#include "ops/far_layers.h"

namespace pith::cuda::far {

// A layer and a text as the kernels read them.
template <class T>
struct LayerText {
  const T* w;  // [channels + heads, d_model]
  const float* norm_weight;
  const float* conv_weight;
  const float* conv_bias;  // or null
  const float* dt_bias;
  const float* a;
  float* conv_state;
  float* ssm_state;
  const T* u;     // [far, d_model]: the text's rows behind the norm, without its weight
  float* weight;  // [heads, stride]: Δ as projected, then what FarWeights calls weight
  int64_t stride;
  uint8_t* needed;  // [heads, chunks]
  T* b;             // [far, groups · d_state]: B of the chunks that a head needs
  int far;
  int chunk;
  int chunks;

  // The first row of chunk c; of the one behind the last, far.
  __device__ int ChunkBegin(int c) const { return max(0, far - (chunks - c) * chunk); }
  __device__ int ChunkOf(int row) const { return chunks - 1 - (far - 1 - row) / chunk; }
};

// A batch of pairs, by value.
template <class T>
struct Task {
  const LayerText<T>* pairs;
  float* decay;  // [heads of all]
  int* counts;   // [heads of all]: chunks that are needed
  int* order;    // the heads, those with the most needed chunks first
  int pair_count;
  int most_far;     // of a pair
  int most_chunks;  // likewise
  int heads;        // of a layer
  int groups;
  int d_model;
  float dt_min;
  float dt_max;

  int all_heads() const { return pair_count * heads; }
  __device__ int inner() const { return heads * static_cast<int>(kScanHead); }
  __device__ int b_width() const { return groups * static_cast<int>(kScanState); }
  __device__ int channels() const { return inner() + 2 * b_width(); }
};

// By mass, a block keeps the masses of a head's chunks in shared memory.
inline constexpr int kMostChunks = 2048;

// weight holds Δ without its bias; becomes the weights. Then decay, needed, counts and order.
template <class T>
void ChooseWrites(const Exec& exec, const Task<T>& task, const Horizon& horizon);

// B, the writes into all states, and the convolutions' states.
template <class T>
void WriteStates(const Exec& exec, const Task<T>& task);
// What WriteStates wants of a block's shared memory.
int64_t SharedBytes(int64_t d_model);

}  // namespace pith::cuda::far

#endif  // PITH_BACKENDS_CUDA_FAR_LAYERS_CUH_
