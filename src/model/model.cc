#include "model/model.h"

#include <atomic>
#include <limits>
#include <utility>

#include "core/error.h"
#include "load/checkpoint.h"
#include "load/drawn_tensors.h"
#include "model/facts.h"
#include "ops/embed.h"
#include "ops/linear.h"
#include "ops/rows.h"

namespace pith {

void CheckTokenIds(const ModelConfig& config, std::span<const int32_t> ids) {
  for (const int32_t id : ids) {
    Require(id >= 0 && id < config.vocab_size, ErrorCode::kInvalidArgument, "token id: got ", id,
            ", expected 0 to ", config.vocab_size - 1);
  }
}

void CheckLength(const Model& model, int64_t tokens) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  Require(tokens <= kMost || !model.state_layout().grows(), ErrorCode::kUnsupported, "text: got ",
          tokens, " tokens, expected at most ", kMost, " for a model with attention");
}

Model::Model(const Exec& exec, ModelConfig config, TensorSource& tensors)
    : config_(std::move(config)), storage_(tensors.storage()), facts_(FactsOf(config_)) {
  Checksum keys;
  SharedParts shared;
  LayerBuilder top(exec, config_, tensors, keys, weight_bytes_, shared, "");
  const int64_t vocab = config_.vocab_size;
  const bool tied = config_.tie_embeddings;
  embedding_ = top.Matrix("backbone.embedding.weight", vocab, config_.d_model,
                          tied ? WeightUse::kBoth : WeightUse::kTable);
  shared.embedding = embedding_;
  head_ = tied ? embedding_ : top.Matrix("lm_head.weight", vocab, config_.d_model);
  LayerBuilder backbone(exec, config_, tensors, keys, weight_bytes_, shared, "backbone.");
  final_norm_ = std::make_unique<RowNorm>(backbone, "norm_f", config_.logits_scale);
  std::vector<StateSize> sizes;
  for (int64_t l = 0; l < config_.n_layer(); ++l) {
    LayerBuilder build(exec, config_, tensors, keys, weight_bytes_, shared,
                       StrCat("backbone.layers.", l, "."));
    layers_.push_back(MakeLayer(config_.layers[l], build));
    Require(exec.state == DType::kF32 || layers_.back()->TakesHalfStates(exec),
            ErrorCode::kUnsupported, "state-dtype: got ", Name(exec.state),
            ", expected f32 for layer ", l,
            ": only Mamba-2 layers that run as whole mixers on a GPU, in bf16 or f16, take others");
    sizes.push_back(layers_.back()->state_size());
    repeats_steps_ = repeats_steps_ && layers_.back()->repeats_steps();
  }
  state_layout_ = StateLayout(sizes, exec.state);
  facts_.state = exec.state;
  fingerprint_ = keys.value();
  static std::atomic<int64_t> models = 0;
  serial_ = ++models;
}

int64_t Model::step_weight_bytes() const {
  if (config_.tie_embeddings) return weight_bytes_.prepared;
  const WeightView& table = embedding_.view();
  return weight_bytes_.prepared - table.rows * BytesOf(table.dtype, table.cols);
}

void Model::Embed(const Exec& exec, std::span<const int32_t> ids, MatView<float> out) const {
  pith::Embed(exec, embedding_.view(), ids, out);
  const float factor = config_.EmbeddingFactor();
  if (factor != 1) ScaleRows(exec, out, factor, out);
}

void Model::FinalNorm(const Exec& exec, MatView<float> rows) const {
  final_norm_->Apply(exec, rows, rows);
}

void Model::StepLogits(const Exec& exec, MatView<const float> normed, MatView<float> logits) const {
  LinearStep(exec, normed, head_.view(), {}, logits);
}

LoadedModel LoadModel(const std::filesystem::path& path, const Exec& exec, bool verify_finite,
                      WeightsAs as) {
  Checkpoint checkpoint(path, {.verify_finite = verify_finite, .threads = exec.threads});
  QuantisedTensors tensors(checkpoint, as, checkpoint.config().tie_embeddings, exec.threads);
  Model model(exec, checkpoint.config(), tensors);
  checkpoint.Finish();
  return {.model = std::move(model),
          .parameters = checkpoint.parameters(),
          .stored_types = checkpoint.stored_types(),
          .warnings = checkpoint.warnings()};
}

LoadedModel DrawModel(const ModelConfig& config, const Exec& exec, DType dtype, WeightsAs as) {
  DrawnTensors drawn(dtype, exec.threads);
  QuantisedTensors tensors(drawn, as, config.tie_embeddings, exec.threads);
  Model model(exec, config, tensors);
  return {.model = std::move(model),
          .parameters = drawn.parameters(),
          .stored_types = {},
          .warnings = {}};
}

}  // namespace pith
