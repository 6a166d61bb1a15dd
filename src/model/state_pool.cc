#include "model/state_pool.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/dtype.h"
#include "core/error.h"
#include "model/model.h"

namespace pith {

StateLayout::StateLayout(std::span<const StateSize> layers, DType half)
    : layers_(layers.begin(), layers.end()), half_(half) {
  for (const StateSize& size : layers) {
    PITH_CHECK(size.half % 2 == 0 && (size.half == 0 || half != DType::kF32));
    offsets_.push_back(floats_);
    floats_ += size.fixed + size.half / 2;
    values_ += size.fixed + size.half;
    page_bytes_ += size.page_bytes();
  }
}

int64_t StateLayout::BytesFor(int64_t tokens) const {
  const int64_t pages = (tokens + kKvPageRows - 1) / kKvPageRows;
  return std::max<int64_t>(1, bytes() + pages * page_bytes_);
}

std::vector<float> StateLayout::Widen(std::vector<float> content) const {
  if (values_ == floats_) return content;
  std::vector<float> values;
  values.reserve(values_);
  for (size_t l = 0; l < layers_.size(); ++l) {
    const float* const from = content.data() + offsets_[l];
    values.insert(values.end(), from, from + layers_[l].fixed);
    const auto* const halves = reinterpret_cast<const std::byte*>(from + layers_[l].fixed);
    for (int64_t i = 0; i < layers_[l].half; ++i) {
      uint16_t bits;
      std::memcpy(&bits, halves + i * sizeof bits, sizeof bits);
      values.push_back(half_ == DType::kBF16 ? ToFloat(BF16{bits}) : ToFloat(F16{bits}));
    }
  }
  return values;
}

std::vector<float> StateLayout::Round(std::span<const float> values) const {
  PITH_CHECK(static_cast<int64_t>(values.size()) == values_);
  std::vector<float> content(floats_);
  const float* from = values.data();
  for (size_t l = 0; l < layers_.size(); ++l) {
    float* const to = content.data() + offsets_[l];
    std::copy_n(from, layers_[l].fixed, to);
    from += layers_[l].fixed;
    auto* const halves = reinterpret_cast<std::byte*>(to + layers_[l].fixed);
    for (int64_t i = 0; i < layers_[l].half; ++i) {
      const float value = *from++;
      const uint16_t bits = half_ == DType::kBF16 ? ToBF16(value).bits : ToF16(value).bits;
      std::memcpy(halves + i * sizeof bits, &bits, sizeof bits);
    }
  }
  return content;
}

StatePool::StatePool(const Model& model, const Exec& exec, int64_t slots)
    : layout_(&model.state_layout()),
      exec_(exec),
      slots_(slots),
      buffer_(exec.backend->Allocate(slots * layout_->bytes(), MemoryUse::kStates)) {
  free_.reserve(slots);
  for (int64_t slot = slots - 1; slot >= 0; --slot) free_.push_back(static_cast<int32_t>(slot));
  for (const StateSize& size : layout_->layers()) {
    kv_.push_back(size.grows() ? std::make_unique<KvStates>(exec, size.kv, slots) : nullptr);
  }
}

float* StatePool::Slot(int32_t slot) const {
  PITH_CHECK(slot >= 0 && slot < slots());
  return static_cast<float*>(buffer_.data()) + slot * layout_->floats();
}

int32_t StatePool::Take() {
  PITH_CHECK(!free_.empty());
  const int32_t slot = free_.back();
  free_.pop_back();
  if (layout_->bytes() > 0) exec_.backend->Clear(exec_.queue, Slot(slot), layout_->bytes());
  return slot;
}

void StatePool::Free(int32_t slot) {
  PITH_CHECK(slot >= 0 && slot < slots() && free_slots() < slots());
  free_.push_back(slot);
  for (const auto& kv : kv_) {
    if (kv != nullptr) kv->Clear(slot);
  }
}

void StatePool::Copy(int32_t from, int32_t to) { CopyFrom(*this, from, to); }

void StatePool::CopyFrom(const StatePool& other, int32_t from, int32_t to) {
  PITH_CHECK(other.layout_->floats() == layout_->floats() && other.kv_.size() == kv_.size());
  if (layout_->bytes() > 0) {
    exec_.backend->Copy(exec_.queue, other.Slot(from), Slot(to), layout_->bytes());
  }
  for (size_t l = 0; l < kv_.size(); ++l) {
    if (kv_[l] != nullptr) kv_[l]->CopyFrom(*other.kv_[l], from, to);
  }
}

LayerStates StatePool::layer(int64_t layer) const {
  return {.base = Slot(0) + layout_->offset(layer),
          .stride = layout_->floats(),
          .kv = kv_[layer].get()};
}

std::vector<float> StatePool::Download(int32_t slot) const {
  std::vector<float> content(layout_->floats());
  if (!content.empty()) {
    exec_.backend->Download(exec_.queue, Slot(slot), content.data(), layout_->bytes());
  }
  return layout_->Widen(std::move(content));
}

void StatePool::Upload(std::span<const float> values, int32_t slot) {
  const std::vector<float> content = layout_->Round(values);
  if (content.empty()) return;
  exec_.backend->Upload(exec_.queue, content.data(), Slot(slot), layout_->bytes());
}

std::vector<KvRows> StatePool::DownloadKv(int32_t slot) const {
  std::vector<KvRows> layers;
  for (const auto& kv : kv_) {
    if (kv != nullptr) layers.push_back(kv->Download(slot));
  }
  return layers;
}

void StatePool::UploadKv(std::span<const KvRows> layers, int32_t slot) {
  auto next = layers.begin();
  for (const auto& kv : kv_) {
    if (kv != nullptr) kv->Upload(*next++, slot);
  }
  PITH_CHECK(next == layers.end());
}

}  // namespace pith
