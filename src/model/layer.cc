#include "model/layer.h"

#include <utility>

#include "core/error.h"

namespace pith {

void LayerRows::Clear() {
  rows = 0;
  segments.clear();
  slots.clear();
  positions.clear();
  ids.clear();
  wanted = nullptr;
}

Weight LayerBuilder::Prepare(const StoredMatrix& stored, WeightUse use) {
  Weight weight = exec_.backend->Prepare(exec_, stored, use);
  const WeightView& view = weight.view();
  const int64_t scales = view.dtype == DType::kI8 ? view.rows * int64_t{sizeof(float)} : 0;
  const int64_t bytes = view.rows * BytesOf(view.dtype, view.cols) + scales;
  bytes_.prepared += bytes;
  if (weight.owns()) {
    tensors_.Drop(stored);
  } else {
    bytes_.in_place += bytes;
  }
  return weight;
}

Weight LayerBuilder::Matrix(std::string_view name, int64_t rows, int64_t cols, WeightUse use) {
  return Prepare(tensors_.Matrix(StrCat(prefix_, name), rows, cols), use);
}

Weight LayerBuilder::KeyMatrix(std::string_view name, int64_t rows, int64_t cols, WeightUse use) {
  const StoredMatrix stored = tensors_.Matrix(StrCat(prefix_, name), rows, cols);
  keys_.Add({static_cast<const std::byte*>(stored.data),
             static_cast<size_t>(BytesOf(stored.dtype, stored.cols))});
  return Prepare(stored, use);
}

std::vector<float> LayerBuilder::Values(std::string_view name, const std::vector<int64_t>& shape) {
  return tensors_.Vector(StrCat(prefix_, name), shape);
}

std::vector<float> LayerBuilder::Decay(std::string_view name, const std::vector<int64_t>& shape) {
  return tensors_.Decay(StrCat(prefix_, name), shape);
}

DeviceVector LayerBuilder::Vector(std::string_view name, const std::vector<int64_t>& shape) {
  return Place(Values(name, shape));
}

std::vector<float> LayerBuilder::KeyValues(std::string_view name,
                                           const std::vector<int64_t>& shape) {
  std::vector<float> values = Values(name, shape);
  keys_.Add(std::as_bytes(std::span(values)));
  return values;
}

DeviceVector LayerBuilder::KeyVector(std::string_view name, const std::vector<int64_t>& shape) {
  return Place(KeyValues(name, shape));
}

RowNorm::RowNorm(LayerBuilder& build, std::string_view name, float factor)
    : layer_norm_(build.config().layer_norm), eps_(build.config().NormEps()) {
  const std::vector<int64_t> shape = {build.config().d_model};
  const auto scaled = [&](std::vector<float> values) {
    for (float& value : values) value *= factor;
    return build.Place(values);
  };
  weight_ = scaled(build.KeyValues(StrCat(name, ".weight"), shape));
  if (layer_norm_) bias_ = scaled(build.Values(StrCat(name, ".bias"), shape));
}

AddNormArgs RowNorm::Args(MatView<const float> x, MatView<const float> add, MatView<float> sum,
                          MatView<float> out) const {
  return {.x = x,
          .add = add,
          .sum = sum,
          .squares = {},
          .weight = weight_.view(),
          .bias = bias_.view(),
          .layer_norm = layer_norm_,
          .eps = eps_,
          .out = out};
}

void Layer::Forward(const LayerContext& context, const LayerRows& rows, const LayerStates& states,
                    bool add) const {
  Workspace& ws = context.ws;
  const MatView<float> x = ws.x.Rows(0, rows.rows);
  const MatView<float> normed = ws.normed.Rows(0, rows.rows);
  const bool compact = !ws.compact.empty();
  PITH_CHECK(!compact || (add && TakesCompact(context)));
  const AddedRows added = std::exchange(ws.added, {});
  const bool apart = add && !compact && !added.added;
  PITH_CHECK(add || context.sum.empty());
  ws.importance_made = false;
  const MatView<float> sum = context.sum.empty() ? x : context.sum;
  AddNormArgs norm = apart ? norm_.Args(x, ws.h.Rows(0, rows.rows), sum, normed)
                           : norm_.Args(x, {}, compact ? sum : MatView<float>(), normed);
  norm.squares = added.squares;
  Mix(context, rows, states, norm);
}

ScanFeaturesArgs Layer::ReadScan(const Workspace& /*ws*/) const {
  PITH_CHECK(false);  // Removal asks only layers that have a scan
  return {};
}

FarWritten Layer::WriteFar(const LayerContext& context, MatView<const float> stream,
                           const FarRegion& region, const Horizon& horizon,
                           const FarTarget& to) const {
  PITH_CHECK(stream.rows == region.far && region.far > 0);
  if (!has_state()) return {};
  DeviceMat<float>& normed = context.ws.far_normed;
  normed.Resize(context.exec, stream.rows, stream.cols);
  norm_.Apply(context.exec, stream, normed.view());
  return WriteNormedFar(context, normed.view(), region, horizon, to);
}

}  // namespace pith
