// Mamba-2's state space layer (Dao & Gu 2024, "Transformers are SSMs", §6): chunked and by steps.
#ifndef PITH_OPS_SSD_H_
#define PITH_OPS_SSD_H_

#include <span>

#include "core/exec.h"
#include "core/tensor.h"

namespace pith {

// Per head h with group g = h / (n_heads / n_groups), and per row t:
//   Δ = clamp(softplus(dt + dt_bias), dt_min, dt_max),  decay = exp(Δ · a)
//   S ← decay · S + Δ · B_t x_tᵀ   [d_state, head_dim]
//   y_t = C_tᵀ S + d · x_t
struct SsdArgs {
  int64_t n_heads = 0;
  int64_t head_dim = 0;
  int64_t n_groups = 0;
  int64_t d_state = 0;
  int64_t chunk = 64;            // rows per chunk, counted from each segment's first row
  MatView<const float> x;        // [rows, n_heads · head_dim], after the convolution
  MatView<const float> b;        // [rows, n_groups · d_state]
  MatView<const float> c;        // [rows, n_groups · d_state]
  MatView<const float> dt;       // [rows, n_heads], as in_proj gives it
  VecView<const float> dt_bias;  // [n_heads]
  float dt_min = 0;
  float dt_max = 0;        // infinity: no limit
  VecView<const float> a;  // [n_heads], negative
  VecView<const float> d;  // [n_heads], or [n_heads · head_dim] with d_has_hdim
  bool d_has_hdim = false;
  std::span<const Segment> segments;
  StateSlots states;  // each [n_heads, d_state, head_dim], updated; f32 but for whole mixers
  MatView<float> y;   // [rows, n_heads · head_dim]; must not overlap the inputs
  // Per segment, the first of its rows (counted from its begin) whose y is wanted: rows of chunks
  // before it may be left unwritten. Empty: all. Changes no bit of what is wanted.
  std::span<const int64_t> wanted_from;
};

// By matrix products within chunks and a recurrence between them (the paper's listing 1). Cutting a
// segment at a multiple of `chunk` and carrying the state gives the same bits.
void Ssd(const Exec& exec, const SsdArgs& args);

// The plain recurrence, row by row: for decode steps. Agrees with Ssd to rounding.
void SsdStep(const Exec& exec, const SsdArgs& args);

}  // namespace pith

#endif  // PITH_OPS_SSD_H_
