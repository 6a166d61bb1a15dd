#include "model/kv_states.h"

#include <algorithm>
#include <bit>
#include <span>

#include "core/error.h"

namespace pith {
namespace {

// A page in host memory, and the rows that it shares with lists of them.
class HostPage {
 public:
  explicit HostPage(const KvPageLayout& layout)
      : layout_(layout), floats_(static_cast<size_t>(layout.floats())) {}

  float* data() { return floats_.data(); }
  void Take(KvRows& rows, int64_t count) const {
    for (int64_t r = 0; r < count; ++r) {
      rows.positions.push_back(std::bit_cast<int32_t>(floats_[r]));
      for (int64_t i = 0; i < layout_.width(); ++i) rows.keys.push_back(floats_[Key(r, i)]);
      for (int64_t i = 0; i < layout_.width(); ++i) rows.values.push_back(floats_[Value(r, i)]);
    }
  }
  void Put(const KvRows& rows, int64_t first, int64_t count) {
    std::ranges::fill(floats_, 0.0f);
    for (int64_t r = 0; r < count; ++r) {
      const int64_t row = (first + r) * layout_.width();
      floats_[r] = std::bit_cast<float>(rows.positions[first + r]);
      for (int64_t i = 0; i < layout_.width(); ++i) {
        floats_[Key(r, i)] = rows.keys[row + i];
        floats_[Value(r, i)] = rows.values[row + i];
      }
    }
  }

 private:
  size_t Key(int64_t row, int64_t column) const {
    return layout_.keys(column / layout_.head_dim) + column % layout_.head_dim * kKvPageRows + row;
  }
  size_t Value(int64_t row, int64_t column) const {
    return layout_.values(column / layout_.head_dim) + row * layout_.head_dim +
           column % layout_.head_dim;
  }

  const KvPageLayout layout_;
  std::vector<float> floats_;
};

}  // namespace

void KvStates::AddPage(Slot& slot) {
  const auto page =
      std::make_shared<DeviceBuffer>(exec_.backend->Allocate(page_bytes(), MemoryUse::kStates));
  // Kernels read whole vectors, so what no row has written must be finite.
  exec_.backend->Clear(exec_.queue, page->data(), page_bytes());
  slot.pages.push_back(page);
  slot.list.push_back(static_cast<float*>(page->data()));
}

KvPages KvStates::Grow(int32_t slot, int64_t count) {
  Slot& grown = slots_[slot];
  while (std::ssize(grown.pages) * kKvPageRows < grown.rows + count) AddPage(grown);
  grown.rows += count;
  return {.pages = grown.list, .rows = grown.rows};
}

void KvStates::Clear(int32_t slot) { slots_[slot] = {}; }

void KvStates::CopyFrom(const KvStates& other, int32_t from, int32_t to) {
  PITH_CHECK(other.exec_.backend == exec_.backend && other.page_bytes() == page_bytes());
  if (&other == this && from == to) return;
  const Slot& source = other.slots_[from];
  Slot& target = slots_[to];
  target = source;
  if (source.rows % kKvPageRows == 0) return;
  target.pages.pop_back();
  target.list.pop_back();
  AddPage(target);
  exec_.backend->Copy(exec_.queue, source.list.back(), target.list.back(), page_bytes());
}

KvRows KvStates::Download(int32_t slot) const {
  KvRows rows;
  HostPage page(layout_);
  const Slot& source = slots_[slot];
  for (int64_t first = 0; first < source.rows; first += kKvPageRows) {
    exec_.backend->Download(exec_.queue, source.list[first / kKvPageRows], page.data(),
                            page_bytes());
    page.Take(rows, std::min(kKvPageRows, source.rows - first));
  }
  return rows;
}

void KvStates::Upload(const KvRows& rows, int32_t slot) {
  Clear(slot);
  HostPage page(layout_);
  for (int64_t first = 0; first < rows.rows(); first += kKvPageRows) {
    const int64_t count = std::min(kKvPageRows, rows.rows() - first);
    page.Put(rows, first, count);
    const KvPages grown = Grow(slot, count);
    exec_.backend->Upload(exec_.queue, page.data(), grown.pages.back(), page_bytes());
  }
}

}  // namespace pith
