// Mamba-1's mixer (Gu & Dao 2023, figure 3 and algorithm 2), with FalconMamba's extra norms.
#include "model/block.h"
#include "model/mixer.h"
#include "ops/norm.h"
#include "ops/selective_scan.h"

namespace pith {
namespace {

// FalconMamba normalises Δ, B and C, each over its own width, without weights.
void NormaliseInPlace(const BlockContext& context, MatView<float> x) {
  AddNorm(context.exec, {.x = x, .eps = context.model.config().bcdt_norm_eps, .out = x});
}

}  // namespace

void Mamba1Mixer(const BlockContext& context, const BlockRows& rows, int64_t layer) {
  const ModelConfig& config = context.model.config();
  const LayerWeights& w = context.model.layer(layer);
  Workspace& ws = context.ws;
  const int64_t n = rows.rows;

  const MatView<float> proj = ws.proj.view().Rows(0, n);
  Project(context, ws.normed.view().Rows(0, n), w.in_proj, w.in_proj_bias, proj);
  const MatView<float> z = proj.Cols(config.d_inner, config.d_inner);
  const MatView<float> x = Convolve(context, rows, layer, proj.Cols(0, config.d_inner));

  const MatView<float> x_db = ws.x_db.view().Rows(0, n);
  Project(context, x, w.x_proj, {}, x_db);
  const MatView<float> dt_low = x_db.Cols(0, config.dt_rank);
  const MatView<float> b = x_db.Cols(config.dt_rank, config.d_state);
  const MatView<float> c = x_db.Cols(config.dt_rank + config.d_state, config.d_state);
  if (config.bcdt_norm) {
    for (const MatView<float>& part : {dt_low, b, c}) NormaliseInPlace(context, part);
  }
  const MatView<float> dt = ws.dt.view().Rows(0, n);
  Project(context, dt_low, w.dt_proj, {}, dt);

  const auto states = StatePointers(rows, [&](SequenceState& s) { return s.ssm(layer); });
  const MatView<float> y = ws.y.view().Rows(0, n);
  SelectiveScan(context.exec, {.d_inner = config.d_inner,
                               .d_state = config.d_state,
                               .x = x,
                               .dt = dt,
                               .b = b,
                               .c = c,
                               .dt_bias = w.dt_bias.data(),
                               .a = context.model.a(layer),
                               .d = w.d.data(),
                               .segments = rows.segments,
                               .states = states,
                               .y = y});
  const MatView<float> gated = ws.gated.view().Rows(0, n);
  Gate(context.exec, {.y = y, .z = z, .out = gated});
  Project(context, gated, w.out_proj, w.out_proj_bias, ws.h.view().Rows(0, n));
}

}  // namespace pith
