// The states of layers that grow: keys and values of one layer, for every slot of a pool.
#ifndef PITH_MODEL_KV_STATES_H_
#define PITH_MODEL_KV_STATES_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "core/exec.h"
#include "ops/attention.h"
#include "ops/backend.h"

namespace pith {

// What one slot holds in one layer, in host memory.
struct KvRows {
  std::vector<int32_t> positions;  // one a row, in the order in which rows were written
  std::vector<float> keys;         // [rows, width]
  std::vector<float> values;       // [rows, width]

  int64_t rows() const { return static_cast<int64_t>(positions.size()); }
  bool operator==(const KvRows&) const = default;
};

// Slots take pages of kKvPageRows rows as they need them and give them back when they are cleared.
// Layers hold different numbers of rows of a sequence once it was reduced, so each counts its own.
// A full page is never written again: forks share it, and copy only the one that is not full.
class KvStates {
 public:
  KvStates(const Exec& exec, const KvPageLayout& layout, int64_t slots)
      : exec_(exec), layout_(layout), slots_(slots) {}

  const KvPageLayout& layout() const { return layout_; }
  int64_t rows(int32_t slot) const { return slots_[slot].rows; }
  // Counts `count` rows more, which the caller writes next (WriteKv). The list stays as it is until
  // the slot grows again, is cleared or copied to.
  KvPages Grow(int32_t slot, int64_t count);
  void Clear(int32_t slot);
  void CopyFrom(const KvStates& other, int32_t from, int32_t to);

  KvRows Download(int32_t slot) const;
  void Upload(const KvRows& rows, int32_t slot);

 private:
  struct Slot {
    std::vector<std::shared_ptr<DeviceBuffer>> pages;
    std::vector<float*> list;  // where they lie
    int64_t rows = 0;
  };

  int64_t page_bytes() const { return layout_.floats() * static_cast<int64_t>(sizeof(float)); }
  void AddPage(Slot& slot);

  Exec exec_;
  KvPageLayout layout_;
  std::vector<Slot> slots_;
};

}  // namespace pith

#endif  // PITH_MODEL_KV_STATES_H_
