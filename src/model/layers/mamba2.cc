// Mamba-2's layer (Dao & Gu 2024, §7): one projection for z, x, B, C and Δ, then the SSD layer.
#include <algorithm>
#include <vector>

#include "core/error.h"
#include "model/far_rows.h"
#include "model/layers/mamba.h"
#include "model/layers/work.h"
#include "ops/far_weights.h"
#include "ops/far_write.h"
#include "ops/mamba2_mixer.h"
#include "ops/norm.h"
#include "ops/rows.h"
#include "ops/ssd.h"

namespace pith {
namespace {

// Per segment, its first wanted row; past its end where it has none. Empty where all are wanted.
// Made in `first`.
std::span<const int64_t> FirstWanted(const LayerRows& rows, std::vector<int64_t>& first) {
  first.clear();
  if (rows.wanted == nullptr) return first;
  for (const Segment& segment : rows.segments) {
    const auto it = std::ranges::lower_bound(*rows.wanted, segment.begin);
    first.push_back(it == rows.wanted->end() ? segment.count : *it - segment.begin);
  }
  return first;
}

// Of x, B and C, what in_proj's input is multiplied by included; nothing where all are 1.
MambaMixer::InputScales ScalesOf(const Mamba2Config& config) {
  if (!config.scaled()) return {};
  MambaMixer::InputScales scales{.in = config.in_scale};
  const auto add = [&](int64_t count, float scale) {
    scales.channels.insert(scales.channels.end(), static_cast<size_t>(count),
                           scale * config.in_scale);
  };
  add(config.d_inner, config.out_scales[1]);
  add(config.bc_width(), config.out_scales[2]);
  add(config.bc_width(), config.out_scales[3]);
  return scales;
}

// The masks of all heads [heads · chunks], one after the other.
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

class Mamba2Layer : public Layer {
 public:
  Mamba2Layer(const Mamba2Config& config, LayerBuilder& build)
      : Layer(build),
        config_(config),
        state_(build.exec().state),
        mixer_(build, config, config.conv_channels(), config.in_proj_rows(), ScalesOf(config)) {
    const int64_t heads = config.n_heads;
    dt_bias_ = build.KeyVector("mixer.dt_bias", {heads});
    d_ = build.KeyVector("mixer.D", {config.d_has_hdim ? config.d_inner : heads});
    a_ = build.Place(build.Decay("mixer.A_log", {heads}));
    if (config.gated_norm) {
      gated_norm_weight_ = build.Vector("mixer.norm.weight", {config.d_inner});
    }
    mixer_.LoadProjections(build);
  }

  LayerWork work() const override { return WorkOf(config_, mixer_.d_model()); }
  StateSize state_size() const override {
    const int64_t size = config_.n_heads * config_.d_state * config_.head_dim;
    if (state_ == DType::kF32) return {.fixed = mixer_.conv_size() + size};
    return {.fixed = mixer_.conv_size(), .half = size};
  }
  bool TakesHalfStates(const Exec& exec) const override {
    Workspace none;
    if (config_.scaled()) return false;
    for (const LayerMode mode : {LayerMode::kPrefill, LayerMode::kStep}) {
      const LayerContext context{.exec = exec, .mode = mode, .ws = none};
      if (!TakesMamba2Mixer(exec, Whole(context, {}, {}, {}, {}))) return false;
    }
    return (config_.n_heads * config_.d_state * config_.head_dim) % 2 == 0;
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
  bool TakesCompact(const LayerContext& context) const override {
    return !config_.scaled() && TakesMamba2Mixer(context.exec, Whole(context, {}, {}, {}, {}));
  }
  std::optional<FarDescription> DescribeFar(const LayerStates& states) const override {
    PITH_CHECK(state_ == DType::kF32);  // RequireStatesForSkim
    if (config_.scaled()) return std::nullopt;
    const AddNormArgs front = norm().Args({}, {}, {}, {});
    const int64_t outputs = config_.conv_channels() + config_.n_heads;
    return FarDescription{.shape = {.d_model = mixer_.d_model(),
                                    .n_heads = config_.n_heads,
                                    .head_dim = config_.head_dim,
                                    .n_groups = config_.n_groups,
                                    .d_state = config_.d_state,
                                    .d_conv = config_.d_conv,
                                    .dt_min = config_.dt_min,
                                    .dt_max = config_.dt_max,
                                    .layer_norm = front.layer_norm,
                                    .eps = front.eps},
                          .layer = {.norm_weight = front.weight,
                                    .w = mixer_.in_proj().Rows(config_.d_inner, outputs),
                                    .bias = mixer_.in_proj_bias(config_.d_inner, outputs),
                                    .conv_weight = mixer_.conv_weight(),
                                    .conv_bias = mixer_.conv_bias(),
                                    .dt_bias = dt_bias_.view(),
                                    .a = a_.view(),
                                    .conv_states = states.base,
                                    .ssm_states = states.base + mixer_.conv_size(),
                                    .stride = states.stride}};
  }

 protected:
  void Mix(const LayerContext& context, const LayerRows& rows, const LayerStates& states,
           const AddNormArgs& norm) const override {
    const std::span<const int64_t> wanted_from = FirstWanted(rows, context.ws.first_wanted);
    const Mamba2MixerArgs whole = Whole(context, rows, states, norm, wanted_from);
    if (!config_.scaled() && TakesMamba2Mixer(context.exec, whole)) {
      MixWhole(context, rows, whole);
    } else {
      MixParts(context, rows, states, norm, wanted_from);
    }
  }
  // Δ for all far rows; x per head and B per group only where a write arrives.
  FarWritten WriteNormedFar(const LayerContext& context, MatView<const float> normed,
                            const FarRegion& region, const Horizon& horizon,
                            const FarTarget& to) const override {
    PITH_CHECK(state_ == DType::kF32);  // RequireStatesForSkim
    const Exec& exec = context.exec;
    const int64_t heads = config_.n_heads;
    const MatView<float> dt = Scratch(context, kProj, region.far, heads);
    mixer_.ProjectIn(context, normed, config_.d_inner + config_.conv_channels(), dt);
    Multiply(exec, config_.out_scales[4], dt);
    const MatView<float> weight = Scratch(context, kFarWeight, heads, region.far);
    const MatView<float> decay = Scratch(context, kFarDecay, 1, heads);
    std::vector<double> chunk_decay(heads * CountChunks(region)), chunk_mass(chunk_decay.size());
    FarWeights(exec, {.region = region,
                      .dt = dt,
                      .dt_bias = dt_bias_.view(),
                      .dt_min = config_.dt_min,
                      .dt_max = config_.dt_max,
                      .a = a_.view(),
                      .weight = weight,
                      .decay = {decay.data, heads},
                      .chunk_decay = chunk_decay,
                      .chunk_mass = chunk_mass});
    const std::vector<uint8_t> needed = Choose(horizon, heads, chunk_decay, chunk_mass);
    FarWrite(exec, {.region = region,
                    .n_heads = heads,
                    .head_dim = config_.head_dim,
                    .n_groups = config_.n_groups,
                    .d_state = config_.d_state,
                    .d_conv = config_.d_conv,
                    .rows = normed,
                    .w = mixer_.in_proj().Rows(config_.d_inner, config_.conv_channels()),
                    .bias = mixer_.in_proj_bias(config_.d_inner, config_.conv_channels()),
                    .conv_weight = mixer_.conv_weight(),
                    .conv_bias = mixer_.conv_bias(),
                    .weight = weight,
                    .decay = {decay.data, heads},
                    .needed = needed,
                    .b = Scratch(context, kConv, region.far, config_.bc_width()),
                    .conv_state = to.states.Slot(to.slot),
                    .ssm_state = to.states.Slot(to.slot) + mixer_.conv_size()});
    return CountWrites(work(), region, needed);
  }

 private:
  void MixParts(const LayerContext& context, const LayerRows& rows, const LayerStates& states,
                const AddNormArgs& norm, std::span<const int64_t> wanted_from) const {
    PITH_CHECK(context.ws.compact.empty());
    PITH_CHECK(state_ == DType::kF32);  // others take whole mixers, and their ssd-chunk alone
    const int64_t inner = config_.d_inner;
    const MatView<float> proj = Scratch(context, kProj, rows.rows, config_.in_proj_rows() - inner);
    const MatView<float> z = Scratch(context, kGate, rows.wanted_rows(), inner);
    mixer_.NormAndProjectIn(context, rows, norm, inner, proj, 0, z);  // x, B, C, Δ; z
    Multiply(context.exec, config_.out_scales[0], z);
    Multiply(context.exec, config_.out_scales[4], Delta(proj));
    GateArgs gate = GatedNorm();
    gate.z = z;
    gate.out = Scratch(context, kGated, rows.wanted_rows(), inner);
    SsdArgs scan = Scan(context, rows, states, wanted_from);
    scan.dt = Delta(proj);
    scan.y = Scratch(context, kScan, rows.rows, inner);
    CausalConv1dArgs convolution = mixer_.Convolution(rows, states);
    convolution.x = proj.Cols(0, config_.conv_channels());
    convolution.out = Scratch(context, kConv, rows.rows, config_.conv_channels());
    ConvSsdGate(context.exec, {.conv = convolution,
                               .ssd = scan,
                               .step = context.mode == LayerMode::kStep,
                               .gate = gate,
                               .read = ReadOutOf(context, rows, inner)});
    mixer_.ProjectOut(context, rows, gate.out);
  }

  // in_proj's outputs that no convolution reads, by what Falcon-H1 multiplies them.
  void Multiply(const Exec& exec, float scale, MatView<float> rows) const {
    const float factor = scale * config_.in_scale;
    if (factor != 1) ScaleRows(exec, rows, factor, rows);
  }

  // What a whole mixer is told, but for where its results go.
  Mamba2MixerArgs Whole(const LayerContext& context, const LayerRows& rows,
                        const LayerStates& states, const AddNormArgs& norm,
                        std::span<const int64_t> wanted_from) const {
    return {.norm = norm,
            .add = context.ws.compact,
            .in_proj = mixer_.in_proj(),
            .in_bias = mixer_.in_proj_bias(0, config_.in_proj_rows()),
            .conv = mixer_.Convolution(rows, states),
            .ssd = Scan(context, rows, states, wanted_from),
            .step = context.mode == LayerMode::kStep,
            .gate = GatedNorm(),
            .out_proj = mixer_.out_proj(),
            .out_bias = mixer_.out_proj_bias()};
  }

  void MixWhole(const LayerContext& context, const LayerRows& rows, Mamba2MixerArgs args) const {
    Workspace& ws = context.ws;
    ws.squares.Resize(context.exec, rows.rows, config_.n_heads);
    args.squares = ws.squares.view();
    args.h = ws.h.Rows(0, rows.wanted_rows());
    if (rows.wanted != nullptr) args.wanted = *rows.wanted;
    if (context.mode == LayerMode::kStep) {
      const bool of_x = args.norm.x.data == ws.x.view().data;  // else it reads more than that
      if (of_x && context.whole) {
        args.residual = ws.x.Rows(0, rows.rows);
        ws.row_squares.Resize(context.exec, rows.rows, MostSquares(args.residual.cols));
        args.residual_squares = ws.row_squares.view();
        args.added = &ws.added;
      }
      args.step_proj = Scratch(context, kProj, rows.rows, config_.in_proj_rows());
      args.kept_gated = Scratch(context, kGated, rows.rows, config_.d_inner);
    } else if (context.observed != nullptr) {
      Keep(context, rows, *context.observed, args);
    }
    CompactRows compact;
    if (context.compact) args.compact = &compact;
    Mamba2Mixer(context.exec, args);
    ws.compact = compact;
  }

  void Keep(const LayerContext& context, const LayerRows& rows, const SiteNeeds& needs,
            Mamba2MixerArgs& args) const {
    if (needs.Reads(Source::kScan)) {
      args.kept_dt =
          Delta(Scratch(context, kProj, rows.rows, config_.in_proj_rows() - config_.d_inner));
    }
    if (needs.Reads(Source::kScan) || needs.Reads(Source::kKeys)) {
      args.kept_conv = Scratch(context, kConv, rows.rows, config_.conv_channels());
    }
    if (needs.match_on != Source::kSsm && !context.importance.empty()) {
      args.importance = context.importance;
      args.importance_kind = needs.importance;
      context.ws.importance_made = true;
    } else if (needs.Reads(Source::kSsm)) {
      args.kept_y = Scratch(context, kScan, rows.rows, config_.d_inner);
    }
    if (needs.Reads(Source::kGated)) {
      args.kept_gated = Scratch(context, kGated, rows.wanted_rows(), config_.d_inner);
    }
  }

  GateArgs GatedNorm() const {
    return {.y = {},
            .z = {},
            .norm_weight = gated_norm_weight_.view(),
            .eps = config_.gated_norm_eps,
            .group = config_.gated_norm_group,
            .norm_before_gate = config_.norm_before_gate,
            .out = {}};
  }

  // All but x, B, C, Δ and y.
  SsdArgs Scan(const LayerContext& context, const LayerRows& rows, const LayerStates& states,
               std::span<const int64_t> wanted_from) const {
    return {.n_heads = config_.n_heads,
            .head_dim = config_.head_dim,
            .n_groups = config_.n_groups,
            .d_state = config_.d_state,
            .chunk = context.ssd_chunk,
            .x = {},
            .b = {},
            .c = {},
            .dt = {},
            .dt_bias = dt_bias_.view(),
            .dt_min = config_.dt_min,
            .dt_max = config_.dt_max,
            .a = a_.view(),
            .d = d_.view(),
            .d_has_hdim = config_.d_has_hdim,
            .segments = rows.segments,
            .states = states.Part(mixer_.conv_size(), rows.slots, state_),
            .y = {},
            .wanted_from = wanted_from};
  }
  template <class T>
  MatView<T> Delta(MatView<T> proj) const {
    return proj.Cols(config_.conv_channels(), config_.n_heads);
  }
  MatView<const float> Conv(const Workspace& ws, int64_t from, int64_t count) const {
    return ws.mixer[kConv].view().Cols(from, count);
  }

  const Mamba2Config config_;
  const DType state_;  // of the state space system; the convolution's is f32
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
