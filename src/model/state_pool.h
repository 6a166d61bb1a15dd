// The memory of sequences: slots of one allocation, in which every layer has its part, and pages
// for layers whose states grow.
#ifndef PITH_MODEL_STATE_POOL_H_
#define PITH_MODEL_STATE_POOL_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "core/tensor.h"
#include "model/kv_states.h"
#include "model/layer.h"
#include "ops/backend.h"

namespace pith {

class Model;

// Where each layer's state lies within a slot.
class StateLayout {
 public:
  StateLayout() = default;
  // `half`: the type of what the layers keep in 16 bits.
  explicit StateLayout(std::span<const StateSize> layers, DType half = DType::kBF16);

  int64_t values() const { return values_; }  // numbers in a slot
  int64_t floats() const { return floats_; }  // that a slot is as large as
  int64_t bytes() const { return floats_ * static_cast<int64_t>(sizeof(float)); }
  int64_t offset(int64_t layer) const { return offsets_[layer]; }
  // Of the layers, whose page_bytes() come on top for each kKvPageRows rows that they hold.
  std::span<const StateSize> layers() const { return layers_; }
  bool grows() const { return page_bytes_ > 0; }
  // On top of bytes() for each token, where no rows are removed; the last page is filled up.
  int64_t bytes_per_token() const { return (page_bytes_ + kKvPageRows - 1) / kKvPageRows; }
  // The most that a sequence of this many tokens holds; at least 1.
  int64_t BytesFor(int64_t tokens) const;

  // A slot's numbers in f32 from its content, and back: what lies in 16 bits is rounded.
  std::vector<float> Widen(std::vector<float> content) const;
  std::vector<float> Round(std::span<const float> values) const;

 private:
  std::vector<StateSize> layers_;
  std::vector<int64_t> offsets_;
  DType half_ = DType::kBF16;
  int64_t values_ = 0;
  int64_t floats_ = 0;
  int64_t page_bytes_ = 0;  // of one page in each layer that grows
};

// Not shared: whoever runs passes over its slots has it alone.
class StatePool {
 public:
  // Room for `slots` sequences, all free.
  StatePool(const Model& model, const Exec& exec, int64_t slots);

  const StateLayout& layout() const { return *layout_; }
  int64_t slots() const { return slots_; }
  int64_t free_slots() const { return static_cast<int64_t>(free_.size()); }

  // A slot that holds the empty text: zeros. One must be free.
  int32_t Take();
  void Free(int32_t slot);
  // Forks a sequence: from's state, in `to` too.
  void Copy(int32_t from, int32_t to);
  void CopyFrom(const StatePool& other, int32_t from, int32_t to);  // of the same model

  LayerStates layer(int64_t layer) const;

  // A slot's numbers of fixed count in f32, layer after layer, in host memory.
  std::vector<float> Download(int32_t slot) const;
  void Upload(std::span<const float> values, int32_t slot);
  // What grows, of the layers that do.
  std::vector<KvRows> DownloadKv(int32_t slot) const;
  void UploadKv(std::span<const KvRows> layers, int32_t slot);

 private:
  float* Slot(int32_t slot) const;

  const StateLayout* layout_;  // the model's
  Exec exec_;
  int64_t slots_;
  DeviceBuffer buffer_;
  std::vector<int32_t> free_;
  std::vector<std::unique_ptr<KvStates>> kv_;  // one a layer; null where the state does not grow
};

// One text that is being read: where its state is and how far it got.
struct Sequence {
  int32_t slot = 0;
  int64_t tokens = 0;  // how many it has read, reduced or not
  // A token that was sampled but not read yet; the next piece of text must start with it.
  std::optional<int32_t> pending = std::nullopt;
};

}  // namespace pith

#endif  // PITH_MODEL_STATE_POOL_H_
