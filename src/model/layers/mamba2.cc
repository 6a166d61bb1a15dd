// Mamba-2's layer (Dao & Gu 2024, §7): one projection for z, x, B, C and Δ, then the SSD layer.
#include <algorithm>
#include <cmath>
#include <vector>

#include "core/error.h"
#include "model/layers/mamba.h"
#include "model/layers/work.h"
#include "ops/norm.h"
#include "ops/ssd.h"

namespace pith {
namespace {

// Per segment, its first wanted row; past its end where it has none. Empty where all are wanted.
std::vector<int64_t> FirstWanted(const LayerRows& rows) {
  std::vector<int64_t> first;
  if (rows.wanted == nullptr) return first;
  for (const Segment& segment : rows.segments) {
    const auto it = std::ranges::lower_bound(*rows.wanted, segment.begin);
    first.push_back(it == rows.wanted->end() ? segment.count : *it - segment.begin);
  }
  return first;
}

class Mamba2Layer : public Layer {
 public:
  Mamba2Layer(const Mamba2Config& config, LayerBuilder& build)
      : Layer(build),
        config_(config),
        mixer_(build, config, config.conv_channels(), config.in_proj_rows()) {
    const int64_t heads = config.n_heads;
    dt_bias_ = build.KeyVector("mixer.dt_bias", {heads});
    d_ = build.KeyVector("mixer.D", {config.d_has_hdim ? config.d_inner : heads});
    std::vector<float> a = build.Values("mixer.A_log", {heads});
    for (float& v : a) v = -std::exp(v);
    a_ = build.Place(a);
    if (config.gated_norm) {
      gated_norm_weight_ = build.Vector("mixer.norm.weight", {config.d_inner});
    }
    mixer_.LoadProjections(build);
  }

  LayerWork work() const override { return WorkOf(config_, mixer_.d_model()); }
  StateSize state_size() const override {
    return {.fixed = mixer_.conv_size() + config_.n_heads * config_.d_state * config_.head_dim};
  }

  int64_t width(Source source) const override {
    if (source == Source::kKeys) return config_.bc_width();
    return source == Source::kSsm || source == Source::kGated ? config_.d_inner : mixer_.d_model();
  }
  MatView<const float> Read(const Workspace& ws, Source source) const override {
    if (source == Source::kKeys) return Conv(ws, config_.d_inner, config_.bc_width());
    if (source == Source::kSsm) return ws.mixer[kScan].view();
    return source == Source::kGated ? ws.mixer[kGated].view() : ws.h.view();
  }
  ScanShape scan_shape() const override {
    return {config_.n_heads, config_.n_groups, config_.d_state, false};
  }
  ScanFeaturesArgs ReadScan(const Workspace& ws) const override {
    const int64_t width = config_.bc_width();
    return {.shape = scan_shape(),
            .dt = Delta(ws.mixer[kProj].view()),
            .dt_bias = dt_bias_.view(),
            .dt_min = config_.dt_min,
            .dt_max = config_.dt_max,
            .x = Conv(ws, 0, config_.d_inner),
            .b = Conv(ws, config_.d_inner, width),
            .c = Conv(ws, config_.d_inner + width, width)};
  }
  VecView<const float> a() const override { return a_.view(); }

 protected:
  void Mix(const LayerContext& context, const LayerRows& rows,
           const LayerStates& states) const override {
    const int64_t inner = config_.d_inner;
    const MatView<const float> normed = context.ws.normed.Rows(0, rows.rows);
    const MatView<float> proj = Scratch(context, kProj, rows.rows, config_.in_proj_rows() - inner);
    mixer_.ProjectIn(context, normed, inner, proj);  // x, B, C, Δ
    const MatView<float> z = Scratch(context, kGate, rows.wanted_rows(), inner);
    mixer_.ProjectIn(context, WantedRows(context, rows, normed), 0, z);
    const MatView<float> xbc =
        mixer_.Convolve(context, rows, states, proj.Cols(0, config_.conv_channels()));

    const MatView<float> y = Scratch(context, kScan, rows.rows, inner);
    const std::vector<int64_t> wanted_from = FirstWanted(rows);
    const int64_t width = config_.bc_width();
    const SsdArgs ssd{.n_heads = config_.n_heads,
                      .head_dim = config_.head_dim,
                      .n_groups = config_.n_groups,
                      .d_state = config_.d_state,
                      .chunk = context.ssd_chunk,
                      .x = xbc.Cols(0, inner),
                      .b = xbc.Cols(inner, width),
                      .c = xbc.Cols(inner + width, width),
                      .dt = Delta(proj),
                      .dt_bias = dt_bias_.view(),
                      .dt_min = config_.dt_min,
                      .dt_max = config_.dt_max,
                      .a = a_.view(),
                      .d = d_.view(),
                      .d_has_hdim = config_.d_has_hdim,
                      .segments = rows.segments,
                      .states = states.Part(mixer_.conv_size(), rows.slots),
                      .y = y,
                      .wanted_from = wanted_from};
    (context.mode == LayerMode::kStep ? SsdStep : Ssd)(context.exec, ssd);

    const MatView<float> gated = Scratch(context, kGated, rows.wanted_rows(), inner);
    Gate(context.exec, {.y = WantedRows(context, rows, y),
                        .z = z,
                        .norm_weight = gated_norm_weight_.view(),
                        .eps = config_.gated_norm_eps,
                        .group = config_.gated_norm_group,
                        .norm_before_gate = config_.norm_before_gate,
                        .out = gated});
    mixer_.ProjectOut(context, rows, gated);
  }

  FarWritten WriteNormedFar(const LayerContext& context, MatView<const float> normed,
                            const FarRegion& region, const Horizon& horizon,
                            const LayerStates& states, int32_t slot) const override;

 private:
  MatView<const float> Delta(MatView<const float> proj) const {
    return proj.Cols(config_.conv_channels(), config_.n_heads);
  }
  MatView<const float> Conv(const Workspace& ws, int64_t from, int64_t count) const {
    return ws.mixer[kConv].view().Cols(from, count);
  }

  const Mamba2Config config_;
  MambaMixer mixer_;
  DeviceVector dt_bias_;            // [n_heads]
  DeviceVector a_;                  // [n_heads]
  DeviceVector d_;                  // [n_heads], or [d_inner] with d_has_hdim
  DeviceVector gated_norm_weight_;  // [d_inner]
};

}  // namespace

std::unique_ptr<Layer> MakeMamba2Layer(const Mamba2Config& config, LayerBuilder& build) {
  return std::make_unique<Mamba2Layer>(config, build);
}

}  // namespace pith
