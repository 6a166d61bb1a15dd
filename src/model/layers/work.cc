#include "model/layers/work.h"

namespace pith {
namespace {

// A far row is normalised, but its x does not change: no residual add.
double NormFlops(double d) { return 4 * d; }
constexpr double kSilu = 4;

// A column of in_proj, convolved.
double ChannelFlops(double d_model, double d_conv) { return 2 * d_model + 2 * d_conv + kSilu; }

}  // namespace

LayerFlops FlopsOf(const Mamba1Config& c, int64_t d_model) {
  const double d = d_model, inner = c.d_inner, n = c.d_state, rank = c.dt_rank;
  return {.in_proj = 4 * d * inner,
          .conv = 2 * c.d_conv * inner + kSilu * inner,
          .dt = 2 * inner * (rank + 2 * n) + 2 * rank * inner + 3 * inner,
          .ssm = 7 * inner * n + 3 * inner,
          .gate = 5 * inner,
          .out_proj = 2 * inner * d,
          .norm = NormFlops(d) + d};
}

LayerFlops FlopsOf(const Mamba2Config& c, int64_t d_model) {
  const double d = d_model, inner = c.d_inner, n = c.d_state, heads = c.n_heads;
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

// A far row costs everything but the gate, C, the read-out (2 of the scan's 7 a state, D's 2 a
// channel) and out_proj.
LayerWork WorkOf(const Mamba1Config& c, int64_t d_model) {
  const LayerFlops full = FlopsOf(c, d_model);
  const double d = d_model, inner = c.d_inner, n = c.d_state, rank = c.dt_rank;
  const double dt = 2 * inner * (rank + n) + 2 * rank * inner + 3 * inner;
  return {.full = full.Total(),
          .far = NormFlops(d) + full.in_proj / 2 + full.conv + dt + 5 * inner * n + inner,
          .d_conv = c.d_conv};
}

LayerWork WorkOf(const Mamba2Config& c, int64_t d_model) {
  const double d = d_model, n = c.d_state, heads = c.n_heads, p = c.head_dim;
  const double channel = ChannelFlops(d, static_cast<double>(c.d_conv));
  return {.full = FlopsOf(c, d_model).Total(),
          .far = NormFlops(d) + 2 * d * heads + 6 * heads,
          .far_group = n * channel,
          .far_head = p * channel + 2 * n * p,
          .heads = c.n_heads,
          .groups = c.n_groups,
          .d_conv = c.d_conv};
}

ProductFlops ProductsOf(const Mamba1Config& c, int64_t d_model) {
  const double d = d_model, inner = c.d_inner, n = c.d_state, rank = c.dt_rank;
  const double delta = 2 * inner * (rank + 2 * n) + 2 * rank * inner;
  return {.full = 4 * d * inner + delta + 2 * inner * d, .state = 2 * d * inner + delta};
}

ProductFlops ProductsOf(const Mamba2Config& c, int64_t d_model) {
  const double d = d_model, inner = c.d_inner, rows = c.in_proj_rows();
  return {.full = 2 * d * rows + 2 * inner * d, .state = 2 * d * (rows - inner)};
}

std::string FactsName(const Mamba1Config& /*config*/) { return "mamba1"; }
std::string FactsName(const Mamba2Config& /*config*/) { return "mamba2"; }

}  // namespace pith
