// Mamba-1's layer (Gu & Dao 2023, figure 3 and algorithm 2), with FalconMamba's extra norms.
#include <algorithm>

#include "core/error.h"
#include "model/layers/mamba.h"
#include "model/layers/work.h"
#include "ops/mamba1_mixer.h"
#include "ops/norm.h"
#include "ops/selective_scan.h"

namespace pith {
namespace {

// [d_inner, d_state] → [d_state, d_inner].
std::vector<float> Transposed(const std::vector<float>& a, int64_t d_inner, int64_t d_state) {
  std::vector<float> transposed(a.size());
  for (int64_t c = 0; c < d_inner; ++c) {
    for (int64_t n = 0; n < d_state; ++n) transposed[n * d_inner + c] = a[c * d_state + n];
  }
  return transposed;
}

class Mamba1Layer : public Layer {
 public:
  Mamba1Layer(const Mamba1Config& config, LayerBuilder& build)
      : Layer(build),
        config_(config),
        mixer_(build, config, config.conv_channels(), config.in_proj_rows(), {}) {
    const int64_t inner = config.d_inner;
    x_proj_ = build.Matrix("mixer.x_proj.weight", config.dt_rank + 2 * config.d_state, inner);
    dt_proj_ = build.Matrix("mixer.dt_proj.weight", inner, config.dt_rank);
    dt_bias_ = build.KeyVector("mixer.dt_proj.bias", {inner});
    d_ = build.KeyVector("mixer.D", {inner});
    a_ = build.Place(
        Transposed(build.Decay("mixer.A_log", {inner, config.d_state}), inner, config.d_state));
    mixer_.LoadProjections(build);
    if (!config.bcdt_weights) return;
    dt_norm_ = build.Vector("mixer.dt_layernorm.weight", {config.dt_rank});
    b_norm_ = build.Vector("mixer.b_layernorm.weight", {config.d_state});
    c_norm_ = build.Vector("mixer.c_layernorm.weight", {config.d_state});
  }

  LayerWork work() const override { return WorkOf(config_, mixer_.d_model()); }
  StateSize state_size() const override {
    return {.fixed = mixer_.conv_size() + config_.d_state * config_.d_inner};
  }

  int64_t width(Source source) const override {
    if (source == Source::kKeys) return config_.d_state;
    return source == Source::kSsm || source == Source::kGated ? config_.d_inner : mixer_.d_model();
  }
  MatView<const float> Read(const Workspace& ws, Source source) const override {
    if (source == Source::kKeys) return Bcdt(ws, config_.dt_rank);
    if (source == Source::kSsm) return ws.mixer[kScan].view();
    return source == Source::kGated ? ws.mixer[kGated].view() : ws.h.view();
  }
  ScanShape scan_shape() const override { return {config_.d_inner, 1, config_.d_state, true}; }
  ScanFeaturesArgs ReadScan(const Workspace& ws) const override {
    return {.shape = scan_shape(),
            .dt = ws.mixer[kDelta].view(),
            .dt_bias = dt_bias_.view(),
            .x = ws.mixer[kConv].view(),
            .b = Bcdt(ws, config_.dt_rank),
            .c = Bcdt(ws, config_.dt_rank + config_.d_state)};
  }
  VecView<const float> a() const override { return a_.view(); }
  bool TakesCompact(const LayerContext& context) const override {
    return TakesMamba1Mixer(context.exec, Whole(context, {}, {}, {}));
  }

 protected:
  void Mix(const LayerContext& context, const LayerRows& rows, const LayerStates& states,
           const AddNormArgs& norm) const override {
    const Mamba1MixerArgs whole = Whole(context, rows, states, norm);
    if (TakesMamba1Mixer(context.exec, whole)) return MixWhole(context, rows, whole);
    PITH_CHECK(context.ws.compact.empty());
    const int64_t inner = config_.d_inner;
    const MatView<float> z = Scratch(context, kGate, rows.wanted_rows(), inner);
    const MatView<float> proj = Scratch(context, kProj, rows.rows, inner);
    mixer_.NormAndProjectIn(context, rows, norm, 0, proj, inner, z);
    const MatView<float> gated = Scratch(context, kGated, rows.wanted_rows(), inner);
    ScanGate(context.exec,
             {.scan = Scan(context, rows, states, proj, Scratch(context, kScan, rows.rows, inner)),
              .gate = {.y = {}, .z = z, .out = gated},
              .read = ReadOutOf(context, rows, inner)});
    mixer_.ProjectOut(context, rows, gated);
  }

  // Δ depends on all of conv(x), so everything but the gate, C, the read-out and out_proj is done,
  // in chunks of the scratch.
  FarWritten WriteNormedFar(const LayerContext& context, MatView<const float> normed,
                            const FarRegion& /*region*/, const Horizon& /*horizon*/,
                            const FarTarget& to) const override {
    for (int64_t begin = 0; begin < normed.rows; begin += context.chunk_rows) {
      const int64_t n = std::min(context.chunk_rows, normed.rows - begin);
      const LayerRows rows{.rows = n, .segments = {{0, n}}, .slots = {to.slot}, .positions = {}};
      const MatView<float> proj = Scratch(context, kProj, n, config_.d_inner);
      mixer_.ProjectIn(context, normed.Rows(begin, n), 0, proj);
      SelectiveScan(context.exec, Scan(context, rows, to.states, proj, {}));
    }
    return {.work = work().far * static_cast<double>(normed.rows), .needed = {}};
  }

 private:
  // What a whole mixer is told, but for where its results go.
  Mamba1MixerArgs Whole(const LayerContext& context, const LayerRows& rows,
                        const LayerStates& states, const AddNormArgs& norm) const {
    return {.norm = norm,
            .add = context.ws.compact,
            .in_proj = mixer_.in_proj(),
            .in_bias = mixer_.in_proj_bias(0, config_.in_proj_rows()),
            .conv = mixer_.Convolution(rows, states),
            .x_proj = x_proj_.view(),
            .dt_proj = dt_proj_.view(),
            .bcdt_norm = config_.bcdt_norm,
            .scan = Recurrence(rows, states),
            .step = context.mode == LayerMode::kStep,
            .out_proj = mixer_.out_proj(),
            .out_bias = mixer_.out_proj_bias()};
  }

  void MixWhole(const LayerContext& context, const LayerRows& rows, Mamba1MixerArgs args) const {
    const int64_t inner = config_.d_inner;
    args.h = context.ws.h.Rows(0, rows.wanted_rows());
    if (rows.wanted != nullptr) args.wanted = *rows.wanted;
    if (args.step) args.step_proj = Scratch(context, kProj, rows.rows, 2 * inner);
    if (args.step || context.observed) {
      args.kept_conv = Scratch(context, kConv, rows.rows, inner);
      args.kept_bcdt = Scratch(context, kBcdt, rows.rows, x_proj_.rows());
      args.kept_gated = Scratch(context, kGated, rows.wanted_rows(), inner);
    }
    if (!args.step && context.observed) {
      args.kept_dt = Scratch(context, kDelta, rows.rows, inner);
      args.kept_y = Scratch(context, kScan, rows.rows, inner);
    }
    CompactRows compact;
    if (context.compact) args.compact = &compact;
    Mamba1Mixer(context.exec, args);
    context.ws.compact = compact;
  }

  // The columns of x_proj's outputs that begin at `from`: B or C.
  MatView<const float> Bcdt(const Workspace& ws, int64_t from) const {
    return ws.mixer[kBcdt].view().Cols(from, config_.d_state);
  }

  // Up to the scan: in_proj's x, `proj` → convolution → Δ, B, C. y empty: only the states are
  // wanted, and C is not computed.
  SelectiveScanArgs Scan(const LayerContext& context, const LayerRows& rows,
                         const LayerStates& states, MatView<const float> proj,
                         MatView<float> y) const {
    CausalConv1dArgs convolution = mixer_.Convolution(rows, states);
    convolution.x = proj;
    convolution.out = Scratch(context, kConv, rows.rows, config_.d_inner);
    CausalConv1d(context.exec, convolution);
    const MatView<float> x = convolution.out;

    // x_proj gives Δ, B and, last, C.
    const int64_t rank = config_.dt_rank;
    const int64_t n = config_.d_state;
    const bool output = !y.empty();
    const int64_t width = rank + (output ? 2 : 1) * n;
    const MatView<float> bcdt = Scratch(context, kBcdt, rows.rows, rank + 2 * n).Cols(0, width);
    Project(context, x, x_proj_.view().Rows(0, width), {}, bcdt);
    const MatView<float> low = bcdt.Cols(0, rank);
    const MatView<float> b = bcdt.Cols(rank, n);
    const MatView<float> c = output ? bcdt.Cols(rank + n, n) : MatView<float>();
    if (config_.bcdt_norm) {
      Normalise(context, low, dt_norm_);
      Normalise(context, b, b_norm_);
      if (output) Normalise(context, c, c_norm_);
    }
    const MatView<float> dt = Scratch(context, kDelta, rows.rows, config_.d_inner);
    Project(context, low, dt_proj_.view(), {}, dt);
    SelectiveScanArgs scan = Recurrence(rows, states);
    scan.x = x;
    scan.dt = dt;
    scan.b = b;
    scan.c = c;
    scan.y = y;
    return scan;
  }

  // All but x, dt, B, C and y.
  SelectiveScanArgs Recurrence(const LayerRows& rows, const LayerStates& states) const {
    return {.d_inner = config_.d_inner,
            .d_state = config_.d_state,
            .x = {},
            .dt = {},
            .b = {},
            .c = {},
            .dt_bias = dt_bias_.view(),
            .a = a_.view(),
            .d = d_.view(),
            .segments = rows.segments,
            .states = states.Part(mixer_.conv_size(), rows.slots),
            .y = {}};
  }

  // FalconMamba and Jamba normalise Δ, B and C, each over its own width.
  void Normalise(const LayerContext& context, MatView<float> x, const DeviceVector& weight) const {
    AddNorm(context.exec,
            {.x = x, .weight = weight.view(), .eps = config_.bcdt_norm_eps, .out = x});
  }

  const Mamba1Config config_;
  MambaMixer mixer_;
  Weight x_proj_;         // [dt_rank + 2 d_state, d_inner], rows Δ, B, C
  Weight dt_proj_;        // [d_inner, dt_rank]
  DeviceVector dt_bias_;  // [d_inner]
  DeviceVector d_;        // [d_inner]
  DeviceVector a_;        // [d_state · d_inner]
  // Of those norms, where they have weights.
  DeviceVector dt_norm_;  // [dt_rank]
  DeviceVector b_norm_;   // [d_state]
  DeviceVector c_norm_;   // [d_state]
};

}  // namespace

std::unique_ptr<Layer> MakeMamba1Layer(const Mamba1Config& config, LayerBuilder& build) {
  return std::make_unique<Mamba1Layer>(config, build);
}

}  // namespace pith
