#include "model/far_rows.h"

#include <optional>

#include "ops/far_layers.h"

namespace pith {

FarWritten CountWrites(const LayerWork& work, const FarRegion& region,
                       std::span<const uint8_t> needed) {
  const int64_t chunks = CountChunks(region);
  const int64_t group = work.heads / work.groups;
  FarWritten written{.work = work.far * static_cast<double>(region.far),
                     .needed = {needed.begin(), needed.end()}};
  for (int64_t g = 0; g < work.groups; ++g) {
    const auto any = NeededByAny(needed.subspan(g * group * chunks, group * chunks), group);
    written.work += work.far_group * static_cast<double>(CountNeededRows(region, any));
  }
  for (int64_t h = 0; h < work.heads; ++h) {
    const auto head = needed.subspan(h * chunks, chunks);
    written.work += work.far_head * static_cast<double>(CountNeededRows(region, head));
  }
  return written;
}

FarTogether WriteFarTogether(const LayerContext& context, const Model& model,
                             const LayerGroup& group, StatePool& pool, const Horizon& horizon,
                             std::span<const FarText> texts) {
  FarTogether far{.group = group, .texts = {}, .regions = {}, .needed = DeviceMat<uint8_t>()};
  FarLayersArgs args{.shape = {}, .horizon = horizon, .layers = {}, .texts = {}, .needed = {}};
  std::vector<FarLayer> layers;
  for (int64_t l = group.begin; l < group.end; ++l) {
    const std::optional<FarDescription> layer = model.layer(l).DescribeFar(pool.layer(l));
    if (!layer) return far;
    if (layers.empty()) args.shape = layer->shape;
    if (layer->shape != args.shape) return far;
    layers.push_back(layer->layer);
  }
  args.layers = layers;
  std::vector<FarText> taken;
  int64_t masks = 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    args.texts = texts.subspan(i, 1);
    if (!TakesFarLayers(context.exec, args)) continue;
    taken.push_back(texts[i]);
    far.texts.push_back(i);
    far.regions.push_back(texts[i].region);
    masks += args.CountMasks(texts[i]);
  }
  far.needed.Resize(context.exec, 1, masks);
  args.texts = taken;
  args.needed = {far.needed.view().data, masks};
  if (!taken.empty()) FarLayers(context.exec, args);
  return far;
}

std::vector<std::vector<FarWritten>> CountTogether(const Exec& exec, const Model& model,
                                                   const FarTogether& far) {
  std::vector<uint8_t> needed(far.needed.cols());
  exec.backend->Download(exec.queue, far.needed.view().data, needed.data(), std::ssize(needed));
  std::vector<std::vector<FarWritten>> written;
  std::span<const uint8_t> left = needed;
  for (const FarRegion& region : far.regions) {
    auto& layers = written.emplace_back();
    for (int64_t l = far.group.begin; l < far.group.end; ++l) {
      const LayerWork work = model.layer(l).work();
      const auto masks = static_cast<size_t>(work.heads * CountChunks(region));
      layers.push_back(CountWrites(work, region, left.first(masks)));
      left = left.subspan(masks);
    }
  }
  return written;
}

}  // namespace pith
