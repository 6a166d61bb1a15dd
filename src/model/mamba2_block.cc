// Mamba-2's mixer (Dao & Gu 2024, §7): one projection for z, x, B, C and Δ, then the SSD layer.
#include <algorithm>
#include <vector>

#include "model/block.h"
#include "model/mixer.h"
#include "ops/ssd.h"

namespace pith {
namespace {

// Per segment, its first wanted row; past its end where it has none. Empty where all are wanted.
std::vector<int64_t> FirstWanted(const BlockRows& rows) {
  std::vector<int64_t> first;
  if (rows.wanted == nullptr) return first;
  for (const Segment& segment : rows.segments) {
    const auto it = std::ranges::lower_bound(*rows.wanted, segment.begin);
    first.push_back(it == rows.wanted->end() ? segment.count : *it - segment.begin);
  }
  return first;
}

}  // namespace

void Mamba2Mixer(const BlockContext& context, const BlockRows& rows, int64_t layer) {
  const ModelConfig& config = context.model.config();
  const LayerWeights& w = context.model.layer(layer);
  Workspace& ws = context.ws;
  const int64_t n = rows.rows;
  const int64_t bc_width = config.n_groups * config.d_state;

  const MatView<const float> normed = ws.normed.view().Rows(0, n);
  const MatView<float> proj =
      ws.proj.view().Rows(0, n).Cols(0, config.in_proj_rows() - config.d_inner);
  ProjectIn(context, normed, layer, config.d_inner, proj);  // x, B, C, Δ
  const MatView<float> z = ws.z.view().Rows(0, rows.wanted_rows());
  ProjectIn(context, WantedRows(context, rows, normed, ws.gather), layer, 0, z);
  const MatView<float> dt = proj.Cols(config.conv_channels(), config.n_heads);
  const MatView<float> xbc = Convolve(context, rows, layer, proj.Cols(0, config.conv_channels()));

  const auto states = StatePointers(rows, [&](SequenceState& s) { return s.ssm(layer); });
  const MatView<float> y = ws.y.view().Rows(0, n);
  const std::vector<int64_t> wanted_from = FirstWanted(rows);
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
                    .y = y,
                    .wanted_from = wanted_from};
  (context.mode == BlockMode::kStep ? SsdStep : Ssd)(context.exec, ssd);

  GateAndProject(context, rows, layer, WantedRows(context, rows, y, ws.gather), z);
}

}  // namespace pith
