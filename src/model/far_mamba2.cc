// Mamba-2's far writes: Δ for all far rows; x per head and B per group only where a write arrives.
#include <vector>

#include "model/far.h"
#include "ops/far_weights.h"
#include "ops/far_write.h"
#include "ops/linear.h"

namespace pith {
namespace {

// The masks of all heads [n_heads · chunks], one after the other.
std::vector<uint8_t> Choose(const Horizon& horizon, int64_t heads, std::span<const double> decay,
                            std::span<const double> mass) {
  const size_t chunks = decay.size() / heads;
  std::vector<uint8_t> needed;
  for (size_t at = 0; at < decay.size(); at += chunks) {
    const auto head = NeededChunks(horizon, decay.subspan(at, chunks), mass.subspan(at, chunks));
    needed.insert(needed.end(), head.begin(), head.end());
  }
  return needed;
}

FarWritten Count(const ModelConfig& config, const FarRegion& region,
                 std::span<const uint8_t> needed) {
  const LayerWork work = WorkPerToken(config);
  const int64_t chunks = CountChunks(region);
  const int64_t group = config.n_heads / config.n_groups;
  FarWritten written{.work = work.far * static_cast<double>(region.far), .needed = {}};
  int64_t b_rows = 0;
  for (int64_t g = 0; g < config.n_groups; ++g) {
    b_rows += CountNeededRows(
        region, NeededByAny(needed.subspan(g * group * chunks, group * chunks), group));
  }
  written.work += work.far_b / static_cast<double>(config.n_groups) * static_cast<double>(b_rows);
  for (int64_t h = 0; h < config.n_heads; ++h) {
    const auto head = needed.subspan(h * chunks, chunks);
    written.work += work.far_head * static_cast<double>(CountNeededRows(region, head));
    written.needed.emplace_back(head.begin(), head.end());
  }
  return written;
}

}  // namespace

FarWritten WriteFarMamba2(const BlockContext& context, int64_t layer, const FarRegion& region,
                          const Horizon& horizon, SequenceState& state) {
  const ModelConfig& config = context.model.config();
  const LayerWeights& w = context.model.layer(layer);
  Workspace& ws = context.ws;
  const int64_t heads = config.n_heads;
  const int64_t channels = config.conv_channels();
  const MatView<const float> normed = ws.far_normed.view().Rows(0, region.far);
  const float* const bias = w.in_proj_bias.empty() ? nullptr : w.in_proj_bias.data();

  ws.far_dt.Resize(region.far, heads);
  ws.far_weight.Resize(heads, region.far);
  ws.far_decay.Resize(heads);
  ws.far_b.Resize(region.far, config.n_groups * config.d_state);
  const int64_t dt_begin = config.d_inner + channels;
  Linear(context.exec, normed, w.in_proj.Rows(dt_begin, heads),
         bias == nullptr ? nullptr : bias + dt_begin, ws.far_dt.view());

  const MatView<float> weight = ws.far_weight.view();
  const VecView<float> decay{ws.far_decay.data(), heads};
  std::vector<double> chunk_decay(heads * CountChunks(region)), chunk_mass(chunk_decay.size());
  FarWeights(context.exec, {.region = region,
                            .dt = ws.far_dt.view(),
                            .dt_bias = {w.dt_bias.data(), heads},
                            .dt_min = config.dt_min,
                            .dt_max = config.dt_max,
                            .a = {context.model.a(layer), heads},
                            .weight = weight,
                            .decay = decay,
                            .chunk_decay = chunk_decay,
                            .chunk_mass = chunk_mass});
  const std::vector<uint8_t> needed = Choose(horizon, heads, chunk_decay, chunk_mass);
  FarWrite(context.exec, {.region = region,
                          .n_heads = heads,
                          .head_dim = config.head_dim,
                          .n_groups = config.n_groups,
                          .d_state = config.d_state,
                          .d_conv = config.d_conv,
                          .rows = normed,
                          .w = w.in_proj.Rows(config.d_inner, channels),
                          .bias = bias == nullptr ? nullptr : bias + config.d_inner,
                          .conv_weight = w.conv_weight.data(),
                          .conv_bias = w.conv_bias.empty() ? nullptr : w.conv_bias.data(),
                          .weight = weight,
                          .decay = decay,
                          .needed = needed,
                          .b = ws.far_b.view(),
                          .conv_state = state.conv(layer),
                          .ssm_state = state.ssm(layer)});
  return Count(config, region, needed);
}

}  // namespace pith
