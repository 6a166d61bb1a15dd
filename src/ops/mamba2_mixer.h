// A whole Mamba-2 mixer in one call: for backends that keep what passes between its operators to
// themselves, in 16 bits. Where a backend does not take it, fused.h has the parts.
#ifndef PITH_OPS_MAMBA2_MIXER_H_
#define PITH_OPS_MAMBA2_MIXER_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/exec.h"
#include "core/tensor.h"
#include "core/weight.h"
#include "ops/causal_conv1d.h"
#include "ops/compact_rows.h"
#include "ops/importance.h"
#include "ops/norm.h"
#include "ops/ssd.h"

namespace pith {

// What a step's mixer tells of rows to which it has added its hidden branch itself.
struct AddedRows {
  bool added = false;
  MatView<const float> squares;  // AddNormArgs::squares of these rows, or empty
};

// Parts of a row's squares that a mixer may leave, at most: one for each eight columns, rounded up.
constexpr int64_t MostSquares(int64_t d_model) { return (d_model + 127) / 128 * 16; }

struct Mamba2MixerArgs {
  AddNormArgs norm;    // out is scratch
  CompactRows add;     // in place of norm.add
  WeightView in_proj;  // [z, x, B, C, Δ; d_model]
  VecView<const float> in_bias;
  CausalConv1dArgs conv;  // x and out are not read
  SsdArgs ssd;            // x, b, c, dt and y are not read
  bool step = false;      // one row a segment, by the plain recurrence
  GateArgs gate;          // y, z and out are not read
  WeightView out_proj;    // [d_model, d_inner]
  VecView<const float> out_bias;
  std::span<const int64_t> wanted;  // on the host; read where h has fewer rows than norm.x
  MatView<float> h;                 // [wanted rows, d_model], or room for `compact`
  MatView<float> squares;           // [rows, n_heads]: room that `compact` may point into
  CompactRows* compact = nullptr;   // where given, receives the hidden branch in place of h; not
                                    // in steps
  // Steps only. With `added`, the hidden branch may be added to `residual`, which are norm.x's
  // rows, in place of written to h; `added` receives whether it was.
  MatView<float> residual;          // [rows, d_model]
  MatView<float> residual_squares;  // [rows, MostSquares(d_model)]: room for those of `added`
  AddedRows* added = nullptr;
  MatView<float> step_proj;  // [rows, in_proj.rows]: scratch of steps
  // What policies read afterwards, or empty. Steps take kept_gated as scratch.
  MatView<float> kept_conv;   // [rows, conv_channels]
  MatView<float> kept_dt;     // [rows, n_heads] Δ without its bias
  MatView<float> kept_y;      // [rows, d_inner]
  MatView<float> kept_gated;  // [wanted rows, d_inner]
  // Or RowImportance of y in place of kept_y, summed in f32 within a head: [rows] or empty.
  VecView<float> importance;
  ImportanceKind importance_kind = ImportanceKind::kClip;
};

// Whether exec's backend does this mixer as a whole. Reads sizes, modes and weights alone: no row,
// state or scratch need be there yet.
bool TakesMamba2Mixer(const Exec& exec, const Mamba2MixerArgs& args);

// AddNorm, in_proj, CausalConv1d, Ssd (or SsdStep), Gate and out_proj over the wanted rows; agrees
// with them to the rounding of what passes between them to 16 bits. A row's bits depend on its
// own sequence alone. Only where TakesMamba2Mixer.
void Mamba2Mixer(const Exec& exec, const Mamba2MixerArgs& args);

// out [rows, d_model] = the first of `rows` in f32, multiplied by their factors.
void ExpandRows(const Exec& exec, const CompactRows& rows, MatView<float> out);

}  // namespace pith

#endif  // PITH_OPS_MAMBA2_MIXER_H_
