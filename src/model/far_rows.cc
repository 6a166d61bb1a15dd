#include "model/far_rows.h"

#include <optional>

#include "ops/far_layers.h"

namespace pith {

FarWritten CountWrites(const LayerWork& work, const FarRegion& region,
                       std::span<const uint8_t> needed) {
  const int64_t chunks = CountChunks(region);
  const int64_t group = work.heads / work.groups;
  FarWritten written{.work = work.far * static_cast<double>(region.far), .needed = {}};
  for (int64_t g = 0; g < work.groups; ++g) {
    const auto any = NeededByAny(needed.subspan(g * group * chunks, group * chunks), group);
    written.work += work.far_group * static_cast<double>(CountNeededRows(region, any));
  }
  for (int64_t h = 0; h < work.heads; ++h) {
    const auto head = needed.subspan(h * chunks, chunks);
    written.work += work.far_head * static_cast<double>(CountNeededRows(region, head));
    written.needed.emplace_back(head.begin(), head.end());
  }
  return written;
}

std::vector<FarWritten> WriteFarTogether(const LayerContext& context, const Model& model,
                                         const LayerGroup& group, StatePool& pool,
                                         const FarRows& rows) {
  FarLayersArgs args{.region = rows.region,
                     .stream = rows.stream,
                     .horizon = rows.horizon,
                     .layers = {},
                     .needed = {}};
  std::vector<FarLayer> layers;
  for (int64_t l = group.begin; l < group.end; ++l) {
    const std::optional<FarDescription> layer =
        model.layer(l).DescribeFar(pool.layer(l), rows.slot);
    if (!layer) return {};
    if (layers.empty()) args.shape = layer->shape;
    if (layer->shape != args.shape) return {};
    layers.push_back(layer->layer);
  }
  args.layers = layers;
  if (!TakesFarLayers(context.exec, args)) return {};
  const auto masks = static_cast<size_t>(args.shape.n_heads * CountChunks(rows.region));
  std::vector<uint8_t> needed(layers.size() * masks);
  args.needed = needed;
  FarLayers(context.exec, args);
  std::vector<FarWritten> written;
  for (size_t i = 0; i < layers.size(); ++i) {
    written.push_back(CountWrites(model.layer(group.begin + static_cast<int64_t>(i)).work(),
                                  rows.region, std::span(needed).subspan(i * masks, masks)));
  }
  return written;
}

}  // namespace pith
