#include "model/facts.h"

namespace pith {
namespace {

// A far row is normalised, but its stream does not change: no residual add.
double NormFlops(double d) { return 4 * d; }
constexpr double kSilu = 4;

BlockFlops Mamba1Flops(const ModelConfig& c) {
  const double d = c.d_model, inner = c.d_inner, n = c.d_state, rank = c.dt_rank;
  return {.in_proj = 4 * d * inner,
          .conv = 2 * c.d_conv * inner + kSilu * inner,
          .dt = 2 * inner * (rank + 2 * n) + 2 * rank * inner + 3 * inner,
          .ssm = 7 * inner * n + 3 * inner,
          .gate = 5 * inner,
          .out_proj = 2 * inner * d,
          .norm = NormFlops(d) + d};
}

BlockFlops Mamba2Flops(const ModelConfig& c) {
  const double d = c.d_model, inner = c.d_inner, n = c.d_state, heads = c.n_heads;
  const double groups = c.n_groups, chunk = c.chunk_size, p = c.head_dim;
  const double channels = inner + 2 * groups * n;
  const double products = 2 * groups * chunk * n + 2 * heads * chunk + 2 * heads * chunk * p;
  const double states = 4 * heads * n * p + 2 * heads * n * p / chunk;
  return {.in_proj = 2 * d * (inner + channels + heads),
          .conv = 2 * c.d_conv * channels + kSilu * channels,
          .dt = 6 * heads,
          .ssm = products + states + 2 * inner,
          .gate = 9 * inner,
          .out_proj = 2 * inner * d,
          .norm = NormFlops(d) + d};
}

// Everything but the gate, C, the read-out (2 of the scan's 7 a state, D's 2 a channel) and
// out_proj.
double FarMamba1(const ModelConfig& c, const BlockFlops& full) {
  const double d = c.d_model, inner = c.d_inner, n = c.d_state, rank = c.dt_rank;
  const double dt = 2 * inner * (rank + n) + 2 * rank * inner + 3 * inner;
  return NormFlops(d) + full.in_proj / 2 + full.conv + dt + 5 * inner * n + inner;
}

LayerWork Mamba1Work(const ModelConfig& c) {
  const BlockFlops full = Mamba1Flops(c);
  return {.full = full.Total(), .far = FarMamba1(c, full), .d_conv = c.d_conv};
}

// A column of in_proj, convolved.
double ChannelFlops(const ModelConfig& c) {
  return 2 * static_cast<double>(c.d_model) + 2 * static_cast<double>(c.d_conv) + kSilu;
}

LayerWork Mamba2Work(const ModelConfig& c) {
  const double d = c.d_model, n = c.d_state, heads = c.n_heads, p = c.head_dim;
  return {.full = Mamba2Flops(c).Total(),
          .far = NormFlops(d) + 2 * d * heads + 6 * heads,
          .far_group = n * ChannelFlops(c),
          .far_head = p * ChannelFlops(c) + 2 * n * p,
          .heads = c.n_heads,
          .groups = c.n_groups,
          .d_conv = c.d_conv};
}

}  // namespace

BlockFlops BlockFlopsPerRow(const ModelConfig& config) {
  return config.kind == BlockKind::kMamba1 ? Mamba1Flops(config) : Mamba2Flops(config);
}

ModelFacts FactsOf(const ModelConfig& config) {
  const bool one = config.kind == BlockKind::kMamba1;
  const LayerWork layer = one ? Mamba1Work(config) : Mamba2Work(config);
  return {
      .kind = one ? "mamba1" : "mamba2",
      .layers = std::vector<LayerWork>(config.n_layer, layer),
      .head = 2.0 * static_cast<double>(config.d_model) * static_cast<double>(config.vocab_size)};
}

}  // namespace pith
