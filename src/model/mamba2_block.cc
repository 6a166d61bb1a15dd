// Mamba-2's mixer (Dao & Gu 2024, §7): one projection for z, x, B, C and Δ, then the SSD layer.
#include "model/block.h"
#include "model/mixer.h"
#include "ops/norm.h"
#include "ops/ssd.h"

namespace pith {

void Mamba2Mixer(const BlockContext& context, const BlockRows& rows, int64_t layer) {
  const ModelConfig& config = context.model.config();
  const LayerWeights& w = context.model.layer(layer);
  Workspace& ws = context.ws;
  const int64_t n = rows.rows;
  const int64_t bc_width = config.n_groups * config.d_state;

  const MatView<float> proj = ws.proj.view().Rows(0, n);
  Project(context, ws.normed.view().Rows(0, n), w.in_proj, w.in_proj_bias, proj);
  const MatView<float> z = proj.Cols(0, config.d_inner);
  const MatView<float> dt = proj.Cols(config.d_inner + config.conv_channels(), config.n_heads);
  const MatView<float> xbc =
      Convolve(context, rows, layer, proj.Cols(config.d_inner, config.conv_channels()));

  const auto states = StatePointers(rows, [&](SequenceState& s) { return s.ssm(layer); });
  const MatView<float> y = ws.y.view().Rows(0, n);
  const SsdArgs ssd{.n_heads = config.n_heads,
                    .head_dim = config.head_dim,
                    .n_groups = config.n_groups,
                    .d_state = config.d_state,
                    .chunk = context.ssd_chunk,
                    .x = xbc.Cols(0, config.d_inner),
                    .b = xbc.Cols(config.d_inner, bc_width),
                    .c = xbc.Cols(config.d_inner + bc_width, bc_width),
                    .dt = dt,
                    .dt_bias = w.dt_bias.data(),
                    .dt_min = config.dt_min,
                    .dt_max = config.dt_max,
                    .a = context.model.a(layer),
                    .d = w.d.data(),
                    .d_has_hdim = config.d_has_hdim,
                    .segments = rows.segments,
                    .states = states,
                    .y = y};
  (context.mode == BlockMode::kStep ? SsdStep : Ssd)(context.exec, ssd);

  const MatView<float> gated = ws.gated.view().Rows(0, n);
  Gate(context.exec, {.y = y,
                      .z = z,
                      .norm_weight = DataOrNull(w.gated_norm_weight),
                      .eps = config.gated_norm_eps,
                      .group = config.gated_norm_group,
                      .norm_before_gate = config.norm_before_gate,
                      .out = gated});
  Project(context, gated, w.out_proj, w.out_proj_bias, ws.h.view().Rows(0, n));
}

}  // namespace pith
