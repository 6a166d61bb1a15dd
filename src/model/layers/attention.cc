// Causal attention with grouped queries: the first half of a Transformer's block. Keys and values
// are its state, which grows with each row; rows keep their original positions, so what was removed
// before leaves a gap and no trace.
#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "core/error.h"
#include "model/layers/kinds.h"
#include "model/layers/work.h"
#include "ops/attention.h"
#include "ops/fused.h"
#include "ops/rope.h"
#include "ops/rows.h"

namespace pith {
namespace {

// In Workspace::mixer.
enum AttentionScratch : size_t {
  kQueries,  // [rows, q_width]
  kKeys,     // [rows, kv_width] rotated
  kValues,   // [rows, kv_width]
  kHeads,    // [wanted rows, q_width] what the heads give
  kContent,  // [rows, kv_width] keys before they were rotated, where a policy reads them
};

class AttentionLayer : public Layer {
 public:
  AttentionLayer(const AttentionConfig& config, SharedAttention parts, LayerBuilder& build)
      : Layer(build),
        config_(config),
        d_model_(build.config().d_model),
        head_eps_(build.config().norm_eps),
        weights_(std::move(parts.weights)),
        adapters_(std::move(parts.adapters)) {}

  LayerWork work() const override { return WorkOf(config_, d_model_); }
  StateSize state_size() const override { return {.kv = Layout()}; }
  bool reads_positions() const override { return true; }
  bool repeats_steps() const override { return false; }  // its pages are others from step to step

  int64_t width(Source source) const override {
    if (source == Source::kKeys) return config_.kv_width();
    return source == Source::kSsm || source == Source::kGated ? config_.q_width() : d_model_;
  }
  MatView<const float> Read(const Workspace& ws, Source source) const override {
    if (source == Source::kKeys) {
      return ws.mixer[config_.rope.empty() ? kKeys : kContent].view();
    }
    const bool heads = source == Source::kSsm || source == Source::kGated;
    return heads ? ws.mixer[kHeads].view() : ws.h.view();
  }

 protected:
  void Mix(const LayerContext& context, const LayerRows& rows, const LayerStates& states,
           const AddNormArgs& norm) const override {
    const MatView<float> q = Scratch(context, kQueries, rows.rows, config_.q_width());
    const MatView<float> k = Scratch(context, kKeys, rows.rows, config_.kv_width());
    const MatView<float> v = Scratch(context, kValues, rows.rows, config_.kv_width());
    NormAndProject(context, norm, q, k, v);
    NormHeads(context.exec, weights_->q_norm, q);
    NormHeads(context.exec, weights_->k_norm, k);
    if (context.observed != nullptr && context.observed->Reads(Source::kKeys)) {
      CopyRows(context.exec, k, Scratch(context, kContent, rows.rows, config_.kv_width()));
    }
    Rotate(context.exec, rows.positions, config_.n_heads, q);
    Write(context, rows, states, k, v);
    const MatView<float> heads = Scratch(context, kHeads, rows.wanted_rows(), config_.q_width());
    AttentionArgs args{.layout = Layout(),
                       .n_heads = config_.n_heads,
                       .scale = config_.scale,
                       .window = config_.window,
                       .q = q,
                       .positions = rows.positions,
                       .segments = rows.segments,
                       .kv = context.ws.kv_pages,
                       .wanted = {},
                       .out = heads};
    if (rows.wanted != nullptr) args.wanted = *rows.wanted;
    Attention(context.exec, args);
    Project(context, heads, weights_->out.view(), weights_->out_bias.view(),
            context.ws.h.Rows(0, rows.wanted_rows()));
  }

  // Keys and values, in chunks of the scratch. Whatever is far is written: attention forgets
  // nothing, so no horizon could leave a write out.
  FarWritten WriteNormedFar(const LayerContext& context, MatView<const float> normed,
                            const FarRegion& /*region*/, const Horizon& /*horizon*/,
                            const FarTarget& to) const override {
    for (int64_t begin = 0; begin < normed.rows; begin += context.chunk_rows) {
      const int64_t n = std::min(context.chunk_rows, normed.rows - begin);
      LayerRows rows{.rows = n, .segments = {{0, n}}, .slots = {to.slot}, .positions = {}};
      for (int64_t r = 0; r < n; ++r) {
        rows.positions.push_back(static_cast<int32_t>(to.first_position + begin + r));
      }
      const MatView<float> k = Scratch(context, kKeys, n, config_.kv_width());
      const MatView<float> v = Scratch(context, kValues, n, config_.kv_width());
      Project(context, normed.Rows(begin, n), weights_->k.view(), weights_->k_bias.view(), k);
      NormHeads(context.exec, weights_->k_norm, k);
      Project(context, normed.Rows(begin, n), weights_->v.view(), weights_->v_bias.view(), v);
      Write(context, rows, to.states, k, v);
    }
    return {.work = work().far * static_cast<double>(normed.rows), .needed = {}};
  }

 private:
  KvPageLayout Layout() const {
    return {.n_kv_heads = config_.n_kv_heads, .head_dim = config_.head_dim};
  }
  void NormAndProject(const LayerContext& context, const AddNormArgs& norm, MatView<float> q,
                      MatView<float> k, MatView<float> v) const {
    const AttentionWeights& w = *weights_;
    const Projection to[] = {{w.q.view(), w.q_bias.view(), q},
                             {w.k.view(), w.k_bias.view(), k},
                             {w.v.view(), w.v_bias.view(), v}};
    if (adapters_.empty()) {
      NormLinear(context.exec, {.norm = norm, .to = to, .step = context.mode == LayerMode::kStep});
      return;
    }
    AddNorm(context.exec, norm);
    for (size_t i = 0; i < adapters_.size(); ++i) {
      Project(context, norm.out, to[i].w, to[i].bias, to[i].out);
      adapters_[i].Add(context, norm.out, kHeads, kContent, to[i].out);  // not in use yet
    }
  }
  // In place, each head by itself; heads of rows without gaps between them are rows of a norm.
  void NormHeads(const Exec& exec, const DeviceVector& weight, MatView<float> x) const {
    if (!config_.qk_norm) return;
    PITH_CHECK(x.stride == x.cols);
    const MatView<float> heads(x.data, x.rows * x.cols / config_.head_dim, config_.head_dim);
    AddNorm(exec, {.x = heads, .weight = weight.view(), .eps = head_eps_, .out = heads});
  }
  void Rotate(const Exec& exec, std::span<const int32_t> positions, int64_t heads,
              MatView<float> x) const {
    if (config_.rope.empty()) return;
    Rope(exec,
         {.n_heads = heads,
          .head_dim = config_.head_dim,
          .pairing = config_.rope_interleaved ? RopePairing::kInterleaved : RopePairing::kHalf,
          .positions = positions,
          .frequencies = config_.rope,
          .factor = config_.rope_factor,
          .x = x});
  }
  // Rotates the keys and puts them behind what the segments' slots hold; leaves in ws.kv_pages what
  // they hold then.
  void Write(const LayerContext& context, const LayerRows& rows, const LayerStates& states,
             MatView<float> k, MatView<const float> v) const {
    PITH_CHECK(states.kv != nullptr && std::ssize(rows.positions) == rows.rows);
    Rotate(context.exec, rows.positions, config_.n_kv_heads, k);
    std::vector<KvPages>& pages = context.ws.kv_pages;
    pages.clear();
    for (size_t s = 0; s < rows.segments.size(); ++s) {
      pages.push_back(states.kv->Grow(rows.slots[s], rows.segments[s].count));
    }
    WriteKv(context.exec, {.layout = Layout(),
                           .k = k,
                           .v = v,
                           .positions = rows.positions,
                           .segments = rows.segments,
                           .kv = pages});
  }

  const AttentionConfig config_;
  const int64_t d_model_;
  const float head_eps_;
  const std::shared_ptr<const AttentionWeights> weights_;
  const std::vector<Adapter> adapters_;  // of q, k and v, or none
};

}  // namespace

AttentionWeights::AttentionWeights(LayerBuilder& build, std::string_view prefix,
                                   const AttentionConfig& config, int64_t in) {
  const int64_t d_model = build.config().d_model;
  const auto name = [&](std::string_view rest) { return StrCat(prefix, rest); };
  const WeightUse use = config.qkv_bias ? WeightUse::kProduct : WeightUse::kWide;
  q = build.KeyMatrix(name("q_proj.weight"), config.q_width(), in, use);
  k = build.KeyMatrix(name("k_proj.weight"), config.kv_width(), in, use);
  v = build.KeyMatrix(name("v_proj.weight"), config.kv_width(), in, use);
  out = build.KeyMatrix(name("o_proj.weight"), d_model, config.q_width(),
                        config.out_bias ? WeightUse::kProduct : WeightUse::kWide);
  if (config.qkv_bias) {
    q_bias = build.Vector(name("q_proj.bias"), {config.q_width()});
    k_bias = build.Vector(name("k_proj.bias"), {config.kv_width()});
    v_bias = build.Vector(name("v_proj.bias"), {config.kv_width()});
  }
  if (config.out_bias) out_bias = build.Vector(name("o_proj.bias"), {d_model});
  if (config.qk_norm) {
    q_norm = build.Vector(name("q_norm.weight"), {config.head_dim});
    k_norm = build.Vector(name("k_norm.weight"), {config.head_dim});
  }
}

std::unique_ptr<Layer> MakeAttentionLayer(const AttentionConfig& config, LayerBuilder& build) {
  auto weights =
      std::make_shared<const AttentionWeights>(build, "mixer.", config, build.config().d_model);
  return MakeSharedAttention(config, {.weights = std::move(weights), .adapters = {}}, build);
}

std::unique_ptr<Layer> MakeSharedAttention(const AttentionConfig& config, SharedAttention shared,
                                           LayerBuilder& build) {
  return std::make_unique<AttentionLayer>(config, std::move(shared), build);
}

}  // namespace pith
