// What both mixers share.
#ifndef PITH_MODEL_MIXER_H_
#define PITH_MODEL_MIXER_H_

#include <vector>

#include "model/block.h"
#include "ops/causal_conv1d.h"
#include "ops/linear.h"

namespace pith {

inline const float* DataOrNull(const std::vector<float>& v) {
  return v.empty() ? nullptr : v.data();
}

inline void Project(const BlockContext& context, MatView<const float> x, const WeightView& w,
                    const std::vector<float>& bias, MatView<float> out) {
  (context.mode == BlockMode::kStep ? LinearStep : Linear)(context.exec, x, w, DataOrNull(bias),
                                                           out);
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

}  // namespace pith

#endif  // PITH_MODEL_MIXER_H_
