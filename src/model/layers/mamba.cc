#include "model/layers/mamba.h"

#include "core/error.h"
#include "ops/rows.h"

namespace pith {

MambaMixer::MambaMixer(LayerBuilder& build, const MambaConfig& config, int64_t conv_channels,
                       int64_t in_proj_rows, const InputScales& scales)
    : config_(config),
      in_scale_(scales.in),
      d_model_(build.config().d_model),
      conv_channels_(conv_channels),
      in_proj_rows_(in_proj_rows) {
  std::vector<float> taps = build.Values("mixer.conv1d.weight", {conv_channels, 1, config.d_conv});
  for (size_t i = 0; i < taps.size() && !scales.channels.empty(); ++i) {
    taps[i] *= scales.channels[i / static_cast<size_t>(config.d_conv)];
  }
  conv_weight_ = build.Place(taps);
  if (config.conv_bias) conv_bias_ = build.Vector("mixer.conv1d.bias", {conv_channels});
}

void MambaMixer::LoadProjections(LayerBuilder& build) {
  // 8-bit products have no biases.
  const WeightUse use = config_.proj_bias ? WeightUse::kProduct : WeightUse::kWide;
  in_proj_ = build.KeyMatrix("mixer.in_proj.weight", in_proj_rows_, d_model_, use);
  out_proj_ = build.KeyMatrix("mixer.out_proj.weight", d_model_, config_.d_inner, use);
  if (!config_.proj_bias) return;
  std::vector<float> bias = build.Values("mixer.in_proj.bias", {in_proj_rows_});
  for (float& value : bias) value /= in_scale_;
  in_proj_bias_ = build.Place(bias);
  out_proj_bias_ = build.Vector("mixer.out_proj.bias", {d_model_});
}

void MambaMixer::ProjectIn(const LayerContext& context, MatView<const float> x, int64_t begin,
                           MatView<float> out) const {
  Project(context, x, in_proj().Rows(begin, out.cols), in_proj_bias(begin, out.cols), out);
}

void MambaMixer::NormAndProjectIn(const LayerContext& context, const LayerRows& rows,
                                  const AddNormArgs& norm, int64_t begin, MatView<float> rest,
                                  int64_t gate_begin, MatView<float> gate) const {
  if (rows.wanted == nullptr) {
    const Projection to[] = {
        {in_proj().Rows(begin, rest.cols), in_proj_bias(begin, rest.cols), rest},
        {in_proj().Rows(gate_begin, gate.cols), in_proj_bias(gate_begin, gate.cols), gate}};
    NormLinear(context.exec, {.norm = norm, .to = to, .step = context.mode == LayerMode::kStep});
    return;
  }
  AddNorm(context.exec, norm);
  ProjectIn(context, norm.out, begin, rest);
  context.ws.gather.Resize(context.exec, rows.wanted_rows(), d_model_);
  const MatView<float> wanted = context.ws.gather.view();
  GatherRows(context.exec,
             {.a = norm.out, .a_rows = *rows.wanted, .b = {}, .b_rows = {}, .out = wanted});
  ProjectIn(context, wanted, gate_begin, gate);
}

CausalConv1dArgs MambaMixer::Convolution(const LayerRows& rows, const LayerStates& states) const {
  return {.x = {},
          .weight = conv_weight(),
          .bias = conv_bias(),
          .d_conv = config_.d_conv,
          .segments = rows.segments,
          .states = states.Part(0, rows.slots),
          .out = {}};
}

void MambaMixer::ProjectOut(const LayerContext& context, const LayerRows& rows,
                            MatView<const float> gated) const {
  Project(context, gated, out_proj_.view(), out_proj_bias_.view(),
          context.ws.h.Rows(0, rows.wanted_rows()));
}

ReadOut ReadOutOf(const LayerContext& context, const LayerRows& rows, int64_t width) {
  if (rows.wanted == nullptr)
    return {.wanted = {}, .gathered = {}, .keep = context.observed != nullptr};
  context.ws.gather.Resize(context.exec, rows.wanted_rows(), width);
  return {.wanted = *rows.wanted,
          .gathered = context.ws.gather.view(),
          .keep = context.observed != nullptr};
}

}  // namespace pith
