// All scratch of a forward pass: grown to what the model and the chunk need, then reused.
#ifndef PITH_MODEL_WORKSPACE_H_
#define PITH_MODEL_WORKSPACE_H_

#include <cstddef>
#include <vector>

#include "core/tensor.h"
#include "load/model_config.h"

namespace pith {

// Not shared: one per running forward pass.
struct Workspace {
  // Per chunk. A block reads x and h of the block before it, and leaves its own.
  MatOwner<float> x;       // [rows, d_model] residual branch
  MatOwner<float> h;       // [rows, d_model] hidden branch: the last mixer's output
  MatOwner<float> normed;  // [rows, d_model]
  MatOwner<float> proj;    // [rows, in_proj_rows − d_inner] Mamba-1: x; Mamba-2: x, B, C, Δ
  MatOwner<float> z;       // [rows, d_inner] gate
  MatOwner<float> conv;    // [rows, conv_channels]
  MatOwner<float> y;       // [rows, d_inner] output of the state space layer, before the gate
  MatOwner<float> gated;   // [rows, d_inner] what out_proj reads
  MatOwner<float> x_db;    // Mamba-1: [rows, dt_rank + 2 d_state] Δ, B, C as x_proj gives them
  MatOwner<float> dt;      // Mamba-1: [rows, d_inner]
  MatOwner<float> out;     // [rows, d_model] rows that a caller asked for
  MatOwner<float> gather;  // [rows, ≤ d_inner] copies of rows that lie apart
  // Per context, only under reduction: what stands between two groups of layers.
  MatOwner<float> stream_x;   // [tokens, d_model]; T = x + h where no rows merge
  MatOwner<float> stream_h;   // [tokens, d_model]; only where rows merge
  MatOwner<float> features;   // [tokens, width of what rows are matched on]
  BufferOwner<float> scores;  // [tokens] importance
  // Per far region, only under skim.
  MatOwner<float> far_normed;    // [far, d_model]
  MatOwner<float> far_dt;        // [far, n_heads] Δ as in_proj gives it
  MatOwner<float> far_weight;    // [n_heads, far] how much of a row's write is left at the end
  BufferOwner<float> far_decay;  // [n_heads] and of the state before
  MatOwner<float> far_b;         // [far, n_groups · d_state] after the convolution

  void Reserve(const ModelConfig& config, int64_t rows);
  size_t ChunkBytes() const;
  size_t StreamBytes() const;
};

}  // namespace pith

#endif  // PITH_MODEL_WORKSPACE_H_
