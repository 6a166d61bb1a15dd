#include "model/far.h"

#include <algorithm>

#include "core/error.h"
#include "model/mixer.h"

namespace pith {
namespace {

void Normalise(const BlockContext& context, int64_t layer, MatView<const float> stream,
               MatView<float> out) {
  const ModelConfig& config = context.model.config();
  const LayerWeights& w = context.model.layer(layer);
  AddNorm(context.exec, {.x = stream,
                         .weight = w.norm_weight.data(),
                         .bias = DataOrNull(w.norm_bias),
                         .layer_norm = config.layer_norm,
                         .eps = config.norm_eps,
                         .out = out});
}

// Mamba-1: Δ depends on all of conv(x), so everything but the gate, C, the read-out and out_proj
// is done, in chunks of the scratch.
FarWritten WriteFarMamba1(const BlockContext& context, int64_t layer, MatView<const float> stream,
                          SequenceState& state) {
  const ModelConfig& config = context.model.config();
  Workspace& ws = context.ws;
  for (int64_t begin = 0; begin < stream.rows; begin += context.chunk_rows) {
    const int64_t n = std::min(context.chunk_rows, stream.rows - begin);
    BlockRows rows{.rows = n, .segments = {{0, n}}, .states = {&state}};
    ws.Reserve(config, n);
    Normalise(context, layer, stream.Rows(begin, n), ws.normed.view());
    ScanMamba1(context, rows, layer, /*output=*/false);
  }
  return {.work = context.model.facts().layers[layer].far * static_cast<double>(stream.rows),
          .needed = {}};
}

}  // namespace

FarWritten WriteFar(const BlockContext& context, int64_t layer, MatView<const float> stream,
                    const FarRegion& region, const Horizon& horizon, SequenceState& state) {
  PITH_CHECK(stream.rows == region.far && region.far > 0);
  if (context.model.config().kind == BlockKind::kMamba1) {
    return WriteFarMamba1(context, layer, stream, state);
  }
  context.ws.far_normed.Resize(region.far, stream.cols);
  Normalise(context, layer, stream, context.ws.far_normed.view());
  return WriteFarMamba2(context, layer, region, horizon, state);
}

}  // namespace pith
