#include "model/model.h"

#include <utility>

#include "core/checksum.h"
#include "core/error.h"

namespace pith {
namespace {

std::vector<float> Transpose(const std::vector<float>& matrix, int64_t rows, int64_t cols) {
  std::vector<float> out(matrix.size());
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) out[c * rows + r] = matrix[r * cols + c];
  }
  return out;
}

uint64_t Fingerprint(const ModelWeights& weights) {
  Checksum sum;
  sum.Add(std::as_bytes(std::span(weights.norm_f_weight)));
  for (const LayerWeights& layer : weights.layers) {
    for (const auto* vector : {&layer.norm_weight, &layer.dt_bias, &layer.d}) {
      sum.Add(std::as_bytes(std::span(*vector)));
    }
    for (const WeightView& matrix : {layer.in_proj, layer.out_proj}) {
      sum.Add({static_cast<const std::byte*>(matrix.data), matrix.cols * SizeOf(matrix.dtype)});
    }
  }
  return sum.value();
}

}  // namespace

void CheckTokenIds(const ModelConfig& config, std::span<const int32_t> ids) {
  for (const int32_t id : ids) {
    Require(id >= 0 && id < config.vocab_size, ErrorCode::kInvalidArgument, "token id: got ", id,
            ", expected 0 to ", config.vocab_size - 1);
  }
}

Model::Model(ModelWeights weights)
    : weights_(std::move(weights)), facts_(FactsOf(weights_.config)) {
  fingerprint_ = Fingerprint(weights_);
  const ModelConfig& c = config();
  for (LayerWeights& layer : weights_.layers) {
    a_.push_back(c.kind == BlockKind::kMamba1 ? Transpose(layer.a, c.d_inner, c.d_state)
                                              : std::move(layer.a));
    layer.a = {};  // lives on in a_
  }
}

}  // namespace pith
