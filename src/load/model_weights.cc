#include "load/model_weights.h"

#include <cmath>
#include <cstring>
#include <set>
#include <string_view>
#include <utility>

#include "core/error.h"
#include "core/parallel.h"
#include "load/checkpoint_files.h"
#include "load/weight_map.h"

namespace pith {
namespace {

namespace fs = std::filesystem;

struct WeightStorage {
  std::vector<std::shared_ptr<const MappedFile>> files;
  std::vector<BufferOwner<std::byte>> copies;  // of tensors that lie misaligned in their file
};

// Bits of the exponent, all ones in NaN and infinity.
template <class Bits>
int64_t CountAllOnes(std::span<const std::byte> bytes, Bits exponent) {
  int64_t count = 0;
  for (size_t i = 0; i + sizeof(Bits) <= bytes.size(); i += sizeof(Bits)) {
    Bits bits;
    std::memcpy(&bits, bytes.data() + i, sizeof(Bits));
    count += (bits & exponent) == exponent;
  }
  return count;
}

int64_t CountNonFinite(const StoredTensor& tensor) {
  if (*tensor.dtype == DType::kF32) return CountAllOnes<uint32_t>(tensor.bytes, 0x7f800000u);
  return CountAllOnes<uint16_t>(tensor.bytes, *tensor.dtype == DType::kF16 ? 0x7c00u : 0x7f80u);
}

bool SameBytes(const StoredTensor& a, const StoredTensor& b) {
  return a.dtype == b.dtype && a.bytes.size() == b.bytes.size() &&
         (a.bytes.data() == b.bytes.data() ||
          std::memcmp(a.bytes.data(), b.bytes.data(), a.bytes.size()) == 0);
}

class WeightLoader {
 public:
  WeightLoader(const fs::path& directory, ModelConfig config)
      : directory_(directory), checkpoint_(OpenCheckpoint(directory)) {
    weights_.config = std::move(config);
    storage_->files = checkpoint_.files;
  }

  ModelWeights Load(const LoadOptions& options) {
    weights_.embedding = Matrix(Slot::kEmbedding);
    LoadHead();
    weights_.norm_f_weight = Vector(Slot::kFinalNormWeight);
    weights_.norm_f_bias = Vector(Slot::kFinalNormBias);
    for (int64_t layer = 0; layer < weights_.config.n_layer; ++layer) {
      weights_.layers.push_back(LoadLayer(layer));
    }
    RequireAllUsed();
    if (options.verify_finite) WarnOfNonFinite(options.threads);
    weights_.storage = std::move(storage_);
    return std::move(weights_);
  }

 private:
  LayerWeights LoadLayer(int64_t layer) {
    LayerWeights w;
    w.norm_weight = Vector(Slot::kNormWeight, layer);
    w.norm_bias = Vector(Slot::kNormBias, layer);
    w.in_proj = Matrix(Slot::kInProjWeight, layer);
    w.in_proj_bias = Vector(Slot::kInProjBias, layer);
    w.conv_weight = Vector(Slot::kConvWeight, layer);
    w.conv_bias = Vector(Slot::kConvBias, layer);
    w.x_proj = Matrix(Slot::kXProj, layer);
    w.dt_proj = Matrix(Slot::kDtProj, layer);
    w.dt_bias = Vector(Slot::kDtBias, layer);
    w.a = Vector(Slot::kALog, layer);
    for (float& a : w.a) a = -std::exp(a);
    w.d = Vector(Slot::kD, layer);
    w.gated_norm_weight = Vector(Slot::kGatedNormWeight, layer);
    w.out_proj = Matrix(Slot::kOutProjWeight, layer);
    w.out_proj_bias = Vector(Slot::kOutProjBias, layer);
    return w;
  }

  void LoadHead() {
    const std::string name = TensorName(weights_.config, Slot::kLmHead, 0);
    if (!weights_.config.tie_embeddings) {
      weights_.lm_head = Matrix(Slot::kLmHead);
      return;
    }
    weights_.lm_head = weights_.embedding;
    if (!checkpoint_.tensors.contains(name)) return;
    const StoredTensor& head = *Find(Slot::kLmHead, 0);
    Require(SameBytes(head, *Find(Slot::kEmbedding, 0)), ErrorCode::kCorruptData, head.file, ": ",
            Quoted(name), ": differs from the embedding, to which config.json ties it; set ",
            weights_.config.format == "mamba_ssm" ? "tie_embeddings" : "tie_word_embeddings",
            " to false to use it");
  }

  // The slot's tensor, checked; null where the model has none.
  const StoredTensor* Find(Slot slot, int64_t layer) {
    const std::vector<int64_t> shape = TensorShape(weights_.config, slot);
    if (shape.empty()) return nullptr;
    const std::string name = TensorName(weights_.config, slot, layer);
    const auto it = checkpoint_.tensors.find(name);
    Require(it != checkpoint_.tensors.end(), ErrorCode::kNotFound, directory_.string(), ": tensor ",
            Quoted(name), " is missing; expected one of shape ", ShapeText(shape));
    const StoredTensor& tensor = it->second;
    Require(tensor.dtype.has_value(), ErrorCode::kUnsupported, tensor.file, ": ", Quoted(name),
            ": got dtype ", Quoted(tensor.dtype_name), ", expected F32, F16 or BF16");
    Require(tensor.shape == shape, ErrorCode::kCorruptData, tensor.file, ": ", Quoted(name),
            ": got shape ", ShapeText(tensor.shape), ", expected ", ShapeText(shape),
            " from config.json");
    used_.insert(it->first);
    return &tensor;
  }

  WeightView Matrix(Slot slot, int64_t layer = 0) {
    const StoredTensor* tensor = Find(slot, layer);
    if (tensor == nullptr) return {};
    const void* data = tensor->bytes.data();
    if (reinterpret_cast<uintptr_t>(data) % SizeOf(*tensor->dtype) != 0) {
      const int64_t size = std::ssize(tensor->bytes);
      BufferOwner<std::byte>& copy = storage_->copies.emplace_back(size);
      std::memcpy(copy.data(), data, size);
      data = copy.data();
      weights_.resident_bytes_owned += size;
    }
    return {*tensor->dtype, data, tensor->shape[0], tensor->shape[1]};
  }

  std::vector<float> Vector(Slot slot, int64_t layer = 0) {
    const StoredTensor* tensor = Find(slot, layer);
    if (tensor == nullptr) return {};
    std::vector<float> values(tensor->bytes.size() / SizeOf(*tensor->dtype));
    VisitFloat(*tensor->dtype, [&]<class T>() {
      for (size_t i = 0; i < values.size(); ++i) {
        T value;
        std::memcpy(&value, tensor->bytes.data() + i * sizeof(T), sizeof(T));
        values[i] = ToFloat(value);
      }
    });
    weights_.resident_bytes_owned += std::ssize(values) * static_cast<int64_t>(sizeof(float));
    return values;
  }

  void RequireAllUsed() const {
    for (const auto& [name, tensor] : checkpoint_.tensors) {
      Require(used_.contains(name), ErrorCode::kCorruptData, tensor.file, ": ", Quoted(name),
              ": a model of this config.json has no such tensor");
    }
  }

  void WarnOfNonFinite(int threads) {
    std::vector<std::pair<std::string_view, const StoredTensor*>> tensors;
    for (const auto& [name, tensor] : checkpoint_.tensors) tensors.emplace_back(name, &tensor);
    std::vector<int64_t> counts(tensors.size());
    ParallelFor(threads, std::ssize(tensors),
                [&](int64_t i) { counts[i] = CountNonFinite(*tensors[i].second); });
    for (size_t i = 0; i < tensors.size(); ++i) {
      if (counts[i] == 0) continue;
      const StoredTensor& tensor = *tensors[i].second;
      weights_.warnings.push_back(Message(tensor.file, ": ", Quoted(tensors[i].first), ": ",
                                          counts[i], " of ", *ElementCount(tensor.shape),
                                          " weights are NaN or infinite"));
    }
  }

  fs::path directory_;
  CheckpointFiles checkpoint_;
  std::shared_ptr<WeightStorage> storage_ = std::make_shared<WeightStorage>();
  std::set<std::string_view> used_;
  ModelWeights weights_;
};

}  // namespace

ModelWeights LoadModel(const fs::path& directory, const LoadOptions& options) {
  std::error_code error;
  const bool is_directory = fs::is_directory(directory, error);
  Require(is_directory, ErrorCode::kNotFound, directory.string(),
          ": expected a directory with config.json and weights");
  return WeightLoader(directory, LoadModelConfig(directory / "config.json")).Load(options);
}

}  // namespace pith
