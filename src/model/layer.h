// A layer: what one residual step of the model does with rows, whatever its kind. One file a kind
// lies in layers/; nothing else tells kinds apart.
#ifndef PITH_MODEL_LAYER_H_
#define PITH_MODEL_LAYER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/checksum.h"
#include "load/model_config.h"
#include "load/tensor_source.h"
#include "model/kv_states.h"
#include "model/layer_rows.h"
#include "model/workspace.h"
#include "ops/backend.h"
#include "ops/far_layers.h"
#include "ops/horizon.h"
#include "ops/norm.h"
#include "ops/scan_features.h"
#include "reduce/facts.h"
#include "reduce/policy.h"

namespace pith {

// How a layer reads its rows: by matrix products over many, or one row a sequence.
enum class LayerMode : uint8_t { kPrefill, kStep };

struct LayerContext {
  Exec exec;
  LayerMode mode = LayerMode::kPrefill;
  int64_t ssd_chunk = 64;
  int64_t chunk_rows = 1024;  // rows in flight where a layer's work is cut: bounds the scratch
  const SiteNeeds* observed =
      nullptr;           // what a policy Reads of the layer afterwards; null: nothing
  bool compact = false;  // who reads the hidden branch next takes it compact
  bool whole = true;     // the mixer's output is the layer's: it may add it to x itself, in steps
  MatView<float> sum = {};  // where x + h of the layer before goes; empty: where x is
  // [rows] where a layer that can leaves the importance of y that `observed` names, in place of y
  // itself; or empty.
  VecView<float> importance = {};
  Workspace& ws;
};

// What one sequence leaves behind in a layer, in numbers.
struct StateSize {
  int64_t fixed = 0;  // whatever was read, in f32
  int64_t half = 0;   // behind the fixed ones and even: those of 16 bits, as Exec::state says
  // Keys and values for each row that was read; no heads: the state does not grow.
  KvPageLayout kv = {};

  bool grows() const { return kv.n_kv_heads > 0; }
  int64_t page_bytes() const { return grows() ? kv.floats() * int64_t{sizeof(float)} : 0; }
};

// Where the states of one layer lie in a pool: slot 0's, and the distance to the next slot's.
struct LayerStates {
  float* base = nullptr;
  int64_t stride = 0;
  KvStates* kv = nullptr;  // the part that grows, where the layer has one

  float* Slot(int32_t slot) const { return base + slot * stride; }
  // The part of the layer's state that begins `offset` floats in.
  StateSlots Part(int64_t offset, std::span<const int32_t> slots, DType type = DType::kF32) const {
    return {.base = base + offset, .stride = stride, .slots = slots, .type = type};
  }
};

// Whose far rows a layer is given, and where its state lies.
struct FarTarget {
  const LayerStates& states;
  int32_t slot = 0;
  int64_t first_position = 0;         // of the region's first row, in the whole text
  std::span<const int32_t> ids = {};  // [far] their tokens
};

// What one layer wrote of a far region.
struct FarWritten {
  double work = 0;              // FLOPs, as LayerWork counts
  std::vector<uint8_t> needed;  // [heads · chunks]; empty where all writes are made
};

// What FarLayers (ops/far_layers.h) is told of one layer.
struct FarDescription {
  FarShape shape;
  FarLayer layer;
};

// What a model's matrices hold.
struct WeightBytes {
  int64_t prepared = 0;  // as the kernels read them
  int64_t in_place = 0;  // of those, left where the source has them: no backend counts them
};

// What the layers of one model have in common.
struct SharedParts {
  Weight embedding;                                         // [vocab_size, d_model]
  std::map<std::string, std::shared_ptr<const void>> made;  // by LayerBuilder::Shared
};

// Takes a layer's tensors from a source and prepares them for a backend. Tensors that are *keys*
// also go into the model's fingerprint.
class LayerBuilder {
 public:
  LayerBuilder(const Exec& exec, const ModelConfig& config, TensorSource& tensors, Checksum& keys,
               WeightBytes& bytes, SharedParts& shared, std::string prefix)
      : exec_(exec),
        config_(config),
        tensors_(tensors),
        keys_(keys),
        bytes_(bytes),
        shared_(shared),
        prefix_(std::move(prefix)) {}

  const Exec& exec() const { return exec_; }
  const ModelConfig& config() const { return config_; }

  Weight Matrix(std::string_view name, int64_t rows, int64_t cols,
                WeightUse use = WeightUse::kProduct);
  // Its first row is the key.
  Weight KeyMatrix(std::string_view name, int64_t rows, int64_t cols,
                   WeightUse use = WeightUse::kProduct);
  std::vector<float> Values(std::string_view name, const std::vector<int64_t>& shape);
  std::vector<float> Decay(std::string_view name, const std::vector<int64_t>& shape);
  DeviceVector Vector(std::string_view name, const std::vector<int64_t>& shape);
  std::vector<float> KeyValues(std::string_view name, const std::vector<int64_t>& shape);
  DeviceVector KeyVector(std::string_view name, const std::vector<int64_t>& shape);
  DeviceVector Place(std::span<const float> values) { return {exec_, values}; }

  const Weight& embedding() const { return shared_.embedding; }
  // What `make` made when it was first asked for under this name, which belongs to T.
  template <class T, class Make>
  std::shared_ptr<const T> Shared(const std::string& name, const Make& make) {
    std::shared_ptr<const void>& part = shared_.made[name];
    if (part == nullptr) part = std::shared_ptr<const T>(make());
    return std::static_pointer_cast<const T>(part);
  }

 private:
  Weight Prepare(const StoredMatrix& stored, WeightUse use);

  const Exec& exec_;
  const ModelConfig& config_;
  TensorSource& tensors_;
  Checksum& keys_;
  WeightBytes& bytes_;
  SharedParts& shared_;
  std::string prefix_;
};

// The norm in front of a layer, or of the head: RMSNorm, or LayerNorm with a bias.
class RowNorm {
 public:
  // Its weight is multiplied by `factor`.
  RowNorm(LayerBuilder& build, std::string_view name, float factor = 1);
  // out = norm(x + add); `sum`, where given, receives x + add. `add` may be empty.
  AddNormArgs Args(MatView<const float> x, MatView<const float> add, MatView<float> sum,
                   MatView<float> out) const;
  void Apply(const Exec& exec, MatView<const float> x, MatView<float> out) const {
    AddNorm(exec, Args(x, {}, {}, out));
  }

 private:
  DeviceVector weight_;  // [d_model]
  DeviceVector bias_;    // [d_model] or empty
  bool layer_norm_;
  float eps_;
};

// Const after construction and shared by threads.
class Layer {
 public:
  explicit Layer(LayerBuilder& build) : norm_(build, "norm") {}
  virtual ~Layer() = default;

  // Residual x ← x + h of the layer before (`add`; without it h is not read), then
  // h ← mixer(norm(x)), states updated. Reads and writes ws.x and ws.h, or ws.compact in its place;
  // with context.sum, which asks for `add`, ws.x stays as it was.
  // Where only some rows are wanted, the first rows of ws.h hold theirs, and ws.x still holds all.
  void Forward(const LayerContext& context, const LayerRows& rows, const LayerStates& states,
               bool add) const;

  // stream [far, d_model]: x + h as the layer finds it. Updates the target's state as if these
  // rows had passed, but for the writes that the horizon leaves out; their decay stays exact.
  // A layer without a state does nothing.
  virtual FarWritten WriteFar(const LayerContext& context, MatView<const float> stream,
                              const FarRegion& region, const Horizon& horizon,
                              const FarTarget& to) const;

  // The same for WriteFar of many texts into many layers at once; nothing where this kind cannot
  // be.
  virtual std::optional<FarDescription> DescribeFar(const LayerStates& /*states*/) const {
    return std::nullopt;
  }

  // Whether Forward may find the hidden branch in ws.compact.
  virtual bool TakesCompact(const LayerContext& /*context*/) const { return false; }

  // Whether Forward reads LayerRows::positions.
  virtual bool reads_positions() const { return false; }
  // Whether it reads LayerRows::ids.
  virtual bool reads_ids() const { return false; }

  // Whether a step's launches depend on nothing but where its operands lie, so that a backend may
  // record and repeat them (Backend::Repeat).
  virtual bool repeats_steps() const { return true; }

  // Whether the layer's states can have exec.state, which is not f32.
  virtual bool TakesHalfStates(const Exec& /*exec*/) const { return false; }

  virtual LayerWork work() const = 0;
  virtual StateSize state_size() const = 0;
  bool has_state() const {
    return state_size().fixed > 0 || state_size().half > 0 || state_size().grows();
  }

  // What policies may read of the rows that passed last, until the next layer runs.
  // [rows, width(source)]; width 0: this kind has none.
  virtual int64_t width(Source source) const = 0;
  virtual MatView<const float> Read(const Workspace& ws, Source source) const = 0;
  // Inputs of the state space system, all of ScanFeaturesArgs but `out`; shape.units 0: none.
  virtual ScanShape scan_shape() const { return {}; }
  virtual ScanFeaturesArgs ReadScan(const Workspace& ws) const;
  virtual VecView<const float> a() const { return {}; }  // as ScanImportance wants it

 protected:
  // `norm`, the norm in front of the layer, still to be run, of all rows → ws.normed; then the
  // mixer → ws.h [wanted rows, d_model].
  virtual void Mix(const LayerContext& context, const LayerRows& rows, const LayerStates& states,
                   const AddNormArgs& norm) const = 0;
  // normed [far, d_model]: the far rows behind the norm; `rows` is one segment of them.
  virtual FarWritten WriteNormedFar(const LayerContext& context, MatView<const float> normed,
                                    const FarRegion& region, const Horizon& horizon,
                                    const FarTarget& to) const = 0;
  const RowNorm& norm() const { return norm_; }

 private:
  // Which are made of two layers.
  friend class ParallelLayer;
  friend class SharedBlockLayer;

  RowNorm norm_;
};

// The layer that `config` describes.
std::unique_ptr<Layer> MakeLayer(const LayerConfig& config, LayerBuilder& build);

}  // namespace pith

#endif  // PITH_MODEL_LAYER_H_
