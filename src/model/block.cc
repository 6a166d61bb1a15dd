#include "model/block.h"

#include "ops/norm.h"

namespace pith {

void Block(const BlockContext& context, const BlockRows& rows, int64_t layer, bool first) {
  const ModelConfig& config = context.model.config();
  const LayerWeights& w = context.model.layer(layer);
  Workspace& ws = context.ws;
  const MatView<float> x = ws.x.view().Rows(0, rows.rows);
  AddNormArgs norm{.x = x,
                   .weight = w.norm_weight.data(),
                   .bias = w.norm_bias.empty() ? nullptr : w.norm_bias.data(),
                   .layer_norm = config.layer_norm,
                   .eps = config.norm_eps,
                   .out = ws.normed.view().Rows(0, rows.rows)};
  if (!first) {
    norm.add = ws.h.view().Rows(0, rows.rows);
    norm.sum = x;
  }
  AddNorm(context.exec, norm);
  if (config.kind == BlockKind::kMamba1) {
    Mamba1Mixer(context, rows, layer);
  } else {
    Mamba2Mixer(context, rows, layer);
  }
}

}  // namespace pith
