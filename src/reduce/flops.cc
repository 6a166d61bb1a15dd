#include "reduce/flops.h"

namespace pith {
namespace {

BlockFlops Mamba1Flops(const ModelConfig& c) {
  const double d = c.d_model, inner = c.d_inner, n = c.d_state, rank = c.dt_rank;
  return {.in_proj = 4 * d * inner,
          .conv = 2 * c.d_conv * inner + 4 * inner,
          .dt = 2 * inner * (rank + 2 * n) + 2 * rank * inner + 3 * inner,
          .ssm = 7 * inner * n + 3 * inner,
          .gate = 5 * inner,
          .out_proj = 2 * inner * d,
          .norm = 5 * d};
}

BlockFlops Mamba2Flops(const ModelConfig& c) {
  const double d = c.d_model, inner = c.d_inner, n = c.d_state, heads = c.n_heads;
  const double groups = c.n_groups, chunk = c.chunk_size, p = c.head_dim;
  const double channels = inner + 2 * groups * n;
  const double products = 2 * groups * chunk * n + 2 * heads * chunk + 2 * heads * chunk * p;
  const double states = 4 * heads * n * p + 2 * heads * n * p / chunk;
  return {.in_proj = 2 * d * (inner + channels + heads),
          .conv = 2 * c.d_conv * channels + 4 * channels,
          .dt = 6 * heads,
          .ssm = products + states + 2 * inner,
          .gate = 9 * inner,
          .out_proj = 2 * inner * d,
          .norm = 5 * d};
}

}  // namespace

BlockFlops BlockFlopsPerToken(const ModelConfig& config) {
  return config.kind == BlockKind::kMamba1 ? Mamba1Flops(config) : Mamba2Flops(config);
}

double HeadFlopsPerToken(const ModelConfig& config) {
  return 2.0 * config.d_model * config.vocab_size;
}

}  // namespace pith
