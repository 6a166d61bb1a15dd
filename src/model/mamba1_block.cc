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

void ScanMamba1(const BlockContext& context, const BlockRows& rows, int64_t layer, bool output) {
  const ModelConfig& config = context.model.config();
  const LayerWeights& w = context.model.layer(layer);
  Workspace& ws = context.ws;
  const int64_t n = rows.rows;

  const MatView<float> proj = ws.proj.view().Rows(0, n);
  ProjectIn(context, ws.normed.view().Rows(0, n), layer, 0, proj);
  const MatView<float> x = Convolve(context, rows, layer, proj);

  // x_proj gives Δ, B and, last, C.
  const int64_t width = config.dt_rank + (output ? 2 : 1) * config.d_state;
  const MatView<float> x_db = ws.x_db.view().Rows(0, n).Cols(0, width);
  Project(context, x, w.x_proj.Rows(0, width), nullptr, x_db);
  const MatView<float> dt_low = x_db.Cols(0, config.dt_rank);
  const MatView<float> b = x_db.Cols(config.dt_rank, config.d_state);
  const MatView<float> c =
      output ? x_db.Cols(config.dt_rank + config.d_state, config.d_state) : MatView<float>();
  if (config.bcdt_norm) {
    NormaliseInPlace(context, dt_low);
    NormaliseInPlace(context, b);
    if (output) NormaliseInPlace(context, c);
  }
  const MatView<float> dt = ws.dt.view().Rows(0, n);
  Project(context, dt_low, w.dt_proj, nullptr, dt);

  const auto states = StatePointers(rows, [&](SequenceState& s) { return s.ssm(layer); });
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
                               .y = output ? ws.y.view().Rows(0, n) : MatView<float>()});
}

void Mamba1Mixer(const BlockContext& context, const BlockRows& rows, int64_t layer) {
  const ModelConfig& config = context.model.config();
  Workspace& ws = context.ws;
  const MatView<const float> normed = ws.normed.view().Rows(0, rows.rows);
  const MatView<float> z = ws.z.view().Rows(0, rows.wanted_rows());
  ProjectIn(context, WantedRows(context, rows, normed, ws.gather), layer, config.d_inner, z);
  ScanMamba1(context, rows, layer, /*output=*/true);
  const MatView<const float> y = ws.y.view().Rows(0, rows.rows);
  GateAndProject(context, rows, layer, WantedRows(context, rows, y, ws.gather), z);
}

}  // namespace pith
