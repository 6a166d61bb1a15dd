#include "ops/far_layers.h"

#include "ops/checks.h"
#include "ops/kernels.h"

namespace pith {
namespace {

void CheckLayer(const FarShape& shape, const FarLayer& layer) {
  const int64_t channels = shape.channels(), outputs = channels + shape.n_heads;
  CheckVector(layer.norm_weight, shape.d_model);
  PITH_CHECK(layer.w.rows == outputs && layer.w.cols == shape.d_model && !layer.w.empty());
  if (!layer.bias.empty()) CheckVector(layer.bias, outputs);
  CheckVector(layer.conv_weight, channels * shape.d_conv);
  if (!layer.conv_bias.empty()) CheckVector(layer.conv_bias, channels);
  CheckVector(layer.dt_bias, shape.n_heads);
  CheckVector(layer.a, shape.n_heads);
  PITH_CHECK(layer.ssm_states != nullptr && layer.conv_states != nullptr);
}

}  // namespace

bool TakesFarLayers(const Exec& exec, const FarLayersArgs& args) {
  const auto takes = KernelsFor(exec).takes_far_layers;
  return takes != nullptr && takes(exec, args);
}

void FarLayers(const Exec& exec, const FarLayersArgs& args) {
  PITH_CHECK(TakesFarLayers(exec, args));
  const FarShape& shape = args.shape;
  PITH_CHECK(shape.n_groups > 0 && shape.n_heads > 0 && shape.n_heads % shape.n_groups == 0);
  PITH_CHECK(shape.dt_min >= 0 && shape.dt_min <= shape.dt_max);
  int64_t masks = 0;
  for (const FarText& text : args.texts) {
    PITH_CHECK(text.region.far > 0 && text.region.chunk > 0 && text.slot >= 0);
    CheckMatrix(text.stream, text.region.far, shape.d_model);
    masks += args.CountMasks(text);
  }
  CheckVector(args.needed, masks);
  for (const FarLayer& layer : args.layers) CheckLayer(shape, layer);
  if (masks > 0) KernelsFor(exec).far_layers(exec, args);
}

}  // namespace pith
