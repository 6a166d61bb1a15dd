// What both mixers share.
#ifndef PITH_MODEL_MIXER_H_
#define PITH_MODEL_MIXER_H_

#include <vector>

#include "model/block.h"
#include "ops/causal_conv1d.h"
#include "ops/linear.h"
#include "ops/norm.h"
#include "ops/rows.h"

namespace pith {

inline const float* DataOrNull(const std::vector<float>& v) {
  return v.empty() ? nullptr : v.data();
}

inline void Project(const BlockContext& context, MatView<const float> x, const WeightView& w,
                    const float* bias, MatView<float> out) {
  (context.mode == BlockMode::kStep ? LinearStep : Linear)(context.exec, x, w, bias, out);
}

// The part of in_proj that gives outputs [begin, begin + out.cols).
inline void ProjectIn(const BlockContext& context, MatView<const float> x, int64_t layer,
                      int64_t begin, MatView<float> out) {
  const LayerWeights& w = context.model.layer(layer);
  Project(context, x, w.in_proj.Rows(begin, out.cols),
          w.in_proj_bias.empty() ? nullptr : w.in_proj_bias.data() + begin, out);
}

// The wanted rows of `from`: itself where all are wanted, else copied to the first rows of `to`.
inline MatView<const float> WantedRows(const BlockContext& context, const BlockRows& rows,
                                       MatView<const float> from, MatOwner<float>& to) {
  if (rows.wanted == nullptr) return from;
  to.Resize(rows.wanted_rows(), from.cols);
  GatherRows(context.exec, {.a = from, .a_rows = *rows.wanted, .out = to.view()});
  return to.view();
}

// The pointers that an operator wants, one per segment.
template <class Part>
std::vector<float*> StatePointers(const BlockRows& rows, Part part) {
  std::vector<float*> pointers;
  pointers.reserve(rows.states.size());
  for (SequenceState* state : rows.states) pointers.push_back(part(*state));
  return pointers;
}

// Convolution and SiLU over `x` [rows, conv_channels] → ws.conv.
inline MatView<float> Convolve(const BlockContext& context, const BlockRows& rows, int64_t layer,
                               MatView<const float> x) {
  const LayerWeights& w = context.model.layer(layer);
  const auto states = StatePointers(rows, [&](SequenceState& s) { return s.conv(layer); });
  const MatView<float> out = context.ws.conv.view().Rows(0, rows.rows);
  CausalConv1d(context.exec, {.x = x,
                              .weight = w.conv_weight.data(),
                              .bias = DataOrNull(w.conv_bias),
                              .d_conv = context.model.config().d_conv,
                              .segments = rows.segments,
                              .states = states,
                              .out = out});
  return out;
}

// The gate, Mamba-2's gated norm and out_proj over the wanted rows: y, z [wanted, d_inner] → ws.h.
inline void GateAndProject(const BlockContext& context, const BlockRows& rows, int64_t layer,
                           MatView<const float> y, MatView<const float> z) {
  const ModelConfig& config = context.model.config();
  const LayerWeights& w = context.model.layer(layer);
  const MatView<float> gated = context.ws.gated.view().Rows(0, rows.wanted_rows());
  Gate(context.exec, {.y = y,
                      .z = z,
                      .norm_weight = DataOrNull(w.gated_norm_weight),
                      .eps = config.gated_norm_eps,
                      .group = config.gated_norm_group,
                      .norm_before_gate = config.norm_before_gate,
                      .out = gated});
  Project(context, gated, w.out_proj, DataOrNull(w.out_proj_bias),
          context.ws.h.view().Rows(0, rows.wanted_rows()));
}

}  // namespace pith

#endif  // PITH_MODEL_MIXER_H_
