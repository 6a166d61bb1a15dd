#include "model/layers/work.h"

#include <algorithm>
#include <variant>

namespace pith {
namespace {

// A far row is normalised, but its x does not change: no residual add.
double NormFlops(double d) { return 4 * d; }
constexpr double kSilu = 4;     // GELU counts the same
constexpr double kTurn = 3;     // of one number: a multiplication and half of a pair's additions
constexpr double kSoftmax = 5;  // of one score: scale, largest, difference, power, sum

// Matrix products of an MLP, for one row.
double MlpProducts(const MlpConfig& c, double d_model) {
  return 2 * d_model * static_cast<double>(c.d_hidden) * (c.gated ? 3 : 2);
}

// And with its activation: SiLU or GELU and the gate's product, or a comparison and a square.
double MlpFlops(const MlpConfig& c, double d_model) {
  const double activation =
      (c.activation == MlpActivation::kReluSquared ? 2 : kSilu) + (c.gated ? 1 : 0);
  return MlpProducts(c, d_model) + activation * static_cast<double>(c.d_hidden);
}

// Of attention: what writes keys and values of rows of d_in numbers, and all the rest up to a
// product that gives d_out.
struct HeadFlops {
  double write = 0;
  double read = 0;
};
HeadFlops FlopsOf(const AttentionConfig& c, double d_in, double d_out) {
  const double q = c.q_width(), kv = c.kv_width(), heads = c.n_heads;
  const double keys =
      static_cast<double>(c.window > 0 ? std::min(c.window, kCountedKeys) : kCountedKeys);
  const double turned = 2 * static_cast<double>(c.rope.size());  // numbers of a head
  const double norm = c.qk_norm ? NormFlops(1) : 0;              // of a number
  return {.write = 4 * d_in * kv + norm * kv + kTurn * turned * static_cast<double>(c.n_kv_heads),
          .read = 2 * d_in * q + norm * q + kTurn * turned * heads +
                  keys * (4 * q + kSoftmax * heads) + 2 * q * d_out};
}

// Products of a shared block, its adapters and the map behind it.
double BlockProducts(const SharedBlockConfig& c, double d) {
  const double q = c.attention.q_width(), kv = c.attention.kv_width(), rank = c.adapter_rank;
  const double heads = 2 * 2 * d * (q + 2 * kv) + 2 * q * d;
  const double low = c.attention_adapters ? 2 * rank * (3 * 2 * d + q + 2 * kv) : 0;
  const double hidden = c.mlp.d_hidden;
  return heads + low + MlpProducts(c.mlp, d) + 2 * rank * (d + 2 * hidden) + 2 * d * d;
}

// And its norms, what it adds, attention and activation.
double BlockFlops(const SharedBlockConfig& c, double d) {
  const double q = c.attention.q_width(), kv = c.attention.kv_width(), hidden = c.mlp.d_hidden;
  const HeadFlops heads = FlopsOf(c.attention, 2 * d, d);
  const double in_products = 2 * 2 * d * (q + 2 * kv) + 2 * q * d;
  const double sums = (c.attention_adapters ? q + 2 * kv : 0) + 2 * hidden + d;
  return BlockProducts(c, d) + heads.write + heads.read - in_products + MlpFlops(c.mlp, d) -
         MlpProducts(c.mlp, d) + NormFlops(2 * d) + NormFlops(d) + sums;
}

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

LayerWork WorkOf(const AttentionConfig& c, int64_t d_model) {
  const double d = d_model;
  const HeadFlops heads = FlopsOf(c, d, d);
  return {.full = NormFlops(d) + d + heads.write + heads.read,
          .far = NormFlops(d) + heads.write,
          .kind = LayerKind::kAttention};
}

// One norm and one residual add for both, and what weighs and adds their outputs.
LayerWork WorkOf(const ParallelConfig& c, int64_t d_model) {
  const double d = d_model;
  const LayerWork attention = WorkOf(c.attention, d_model);
  LayerWork work = WorkOf(c.mamba, d_model);
  work.full += attention.full - (NormFlops(d) + d) + 3 * d;
  work.far += attention.far - NormFlops(d);
  return work;
}

LayerWork WorkOf(const MlpConfig& c, int64_t d_model) {
  const double d = d_model;
  return {.full = NormFlops(d) + d + MlpFlops(c, d), .kind = LayerKind::kMlp};
}

LayerWork WorkOf(const ExpertsConfig& c, int64_t d_model) {
  const double d = d_model, experts = c.n_experts, chosen = c.chosen;
  const double mixture = 2 * d * experts + chosen * (MlpFlops(c.expert, d) + 2 * d);
  return {.full = NormFlops(d) + d + mixture + (c.shared.d_hidden > 0 ? MlpFlops(c.shared, d) : 0),
          .kind = LayerKind::kExperts};
}

// What a far row writes into Mamba-2 depends on what the block gives for it, so it passes the
// block.
LayerWork WorkOf(const SharedBlockConfig& c, int64_t d_model) {
  LayerWork work = WorkOf(c.mamba, d_model);
  const double block = BlockFlops(c, static_cast<double>(d_model));
  work.full += block;
  work.far += block;
  return work;
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

ProductFlops ProductsOf(const AttentionConfig& c, int64_t d_model) {
  const double d = d_model, q = c.q_width(), kv = c.kv_width();
  return {.full = 2 * d * (q + 2 * kv) + 2 * q * d, .state = 4 * d * kv};
}

ProductFlops ProductsOf(const ParallelConfig& c, int64_t d_model) {
  const ProductFlops mamba = ProductsOf(c.mamba, d_model);
  const ProductFlops attention = ProductsOf(c.attention, d_model);
  return {.full = mamba.full + attention.full, .state = mamba.state + attention.state};
}

ProductFlops ProductsOf(const MlpConfig& c, int64_t d_model) {
  return {.full = MlpProducts(c, static_cast<double>(d_model)), .state = 0};
}

ProductFlops ProductsOf(const ExpertsConfig& c, int64_t d_model) {
  const double d = d_model, experts = c.n_experts, chosen = c.chosen;
  return {.full = 2 * d * experts + chosen * MlpProducts(c.expert, d) + MlpProducts(c.shared, d),
          .state = 0};
}

ProductFlops ProductsOf(const SharedBlockConfig& c, int64_t d_model) {
  const ProductFlops mamba = ProductsOf(c.mamba, d_model);
  const double block = BlockProducts(c, static_cast<double>(d_model));
  return {.full = mamba.full + block, .state = mamba.state + block};
}

std::string FactsName(std::span<const LayerConfig> layers) {
  const auto all = [&]<class... Kinds>() {
    return std::ranges::all_of(
        layers, [](const LayerConfig& l) { return (std::holds_alternative<Kinds>(l) || ...); });
  };
  if (all.operator()<Mamba1Config>()) return "mamba1";
  if (all.operator()<Mamba2Config>()) return "mamba2";
  return all.operator()<AttentionConfig, MlpConfig, ExpertsConfig>() ? "transformer" : "hybrid";
}

}  // namespace pith
