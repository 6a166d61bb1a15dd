#include "model/state_pool.h"

#include "core/error.h"
#include "model/model.h"

namespace pith {

StateLayout::StateLayout(std::span<const StateSize> layers) {
  for (const StateSize& size : layers) {
    PITH_CHECK(size.per_token == 0);  // needs a part that grows
    offsets_.push_back(floats_);
    floats_ += size.fixed;
  }
}

StatePool::StatePool(const Model& model, const Exec& exec, int64_t slots)
    : layout_(&model.state_layout()),
      exec_(exec),
      slots_(slots),
      buffer_(exec.backend->Allocate(slots * layout_->bytes(), MemoryUse::kStates)) {
  free_.reserve(slots);
  for (int64_t slot = slots - 1; slot >= 0; --slot) free_.push_back(static_cast<int32_t>(slot));
}

float* StatePool::Slot(int32_t slot) const {
  PITH_CHECK(slot >= 0 && slot < slots());
  return static_cast<float*>(buffer_.data()) + slot * layout_->floats();
}

int32_t StatePool::Take() {
  PITH_CHECK(!free_.empty());
  const int32_t slot = free_.back();
  free_.pop_back();
  exec_.backend->Clear(exec_.queue, Slot(slot), layout_->bytes());
  return slot;
}

void StatePool::Free(int32_t slot) {
  PITH_CHECK(slot >= 0 && slot < slots() && free_slots() < slots());
  free_.push_back(slot);
}

void StatePool::Copy(int32_t from, int32_t to) { CopyFrom(*this, from, to); }

void StatePool::CopyFrom(const StatePool& other, int32_t from, int32_t to) {
  PITH_CHECK(other.layout_->floats() == layout_->floats());
  exec_.backend->Copy(exec_.queue, other.Slot(from), Slot(to), layout_->bytes());
}

LayerStates StatePool::layer(int64_t layer) const {
  return {.base = Slot(0) + layout_->offset(layer), .stride = layout_->floats()};
}

std::vector<float> StatePool::Download(int32_t slot) const {
  std::vector<float> values(layout_->floats());
  exec_.backend->Download(exec_.queue, Slot(slot), values.data(), layout_->bytes());
  return values;
}

void StatePool::Upload(std::span<const float> values, int32_t slot) {
  PITH_CHECK(static_cast<int64_t>(values.size()) == layout_->floats());
  exec_.backend->Upload(exec_.queue, values.data(), Slot(slot), layout_->bytes());
}

}  // namespace pith
