// Weight matrices: as a file holds them, and as a backend has prepared them for its kernels.
#ifndef PITH_CORE_WEIGHT_H_
#define PITH_CORE_WEIGHT_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "core/dtype.h"
#include "core/error.h"

namespace pith {

// [rows, cols] = [out, in] in host memory, contiguous, in the dtype of its file. Where that is one
// of blocks, a row is whole blocks.
struct StoredMatrix {
  DType dtype = DType::kF32;
  const void* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  const float* scales = nullptr;  // kI8: [rows]

  bool empty() const { return data == nullptr; }
  int64_t bytes() const { return rows * BytesOf(dtype, cols); }  // of `data`
};

// How a prepared matrix lies in its backend's memory.
enum class WeightFormat : uint8_t {
  kRows,    // row after row, [rows, cols]
  kPanels,  // [rows / panel, cols, panel]: `panel` rows side by side, the last panel filled with 0
  // kPanels of bf16, or of f16 with a scale for each row, with two neighbouring columns of each row
  // side by side, [rows / panel, ⌈cols / 2⌉, panel, 2]; an odd last column stands beside 0. Rows of
  // a panel of f16 have an order of their own, and `scales` bring them back (PackF16Pairs).
  kPairPanels,
  // The same of a quantised dtype: each panel is whole groups of 32 columns, the last one filled
  // with 0, and a group's scales lie behind its numbers (backends/cpu/quant_panels.h).
  kQuantPanels,
};

// Rows of a prepared matrix. Only the backend that prepared it reads `data`.
struct WeightView {
  WeightFormat format = WeightFormat::kRows;
  DType dtype = DType::kF32;
  const void* data = nullptr;   // of the whole matrix
  const void* exact = nullptr;  // where products read rounded values: rows as stored, for Embed
  DType exact_dtype = DType::kF32;
  // Where products of many rows read 8 bits: the whole matrix in e4m3, and its rows' scales.
  const void* e4m3 = nullptr;
  // [rows] of the whole matrix: of e4m3, of kI8, or of kPairPanels of f16 (to whole panels).
  const float* scales = nullptr;
  int64_t panel = 0;  // rows a panel
  int64_t first = 0;  // of the whole matrix's rows, the first one in view
  int64_t rows = 0;
  int64_t cols = 0;

  bool empty() const { return data == nullptr; }
  // Rows [begin, begin + count): an output slice of a linear map, at no cost.
  WeightView Rows(int64_t begin, int64_t count) const {
    PITH_CHECK(begin >= 0 && count >= 0 && begin + count <= rows);
    WeightView part = *this;
    part.first += begin;
    part.rows = count;
    return part;
  }
};

inline WeightView RowsOf(const StoredMatrix& stored) {
  return {.format = WeightFormat::kRows,
          .dtype = stored.dtype,
          .data = stored.data,
          .scales = stored.scales,
          .rows = stored.rows,
          .cols = stored.cols};
}

// A matrix as Backend::Prepare gives it. Copies share the storage.
class Weight {
 public:
  Weight() = default;
  Weight(const WeightView& view, std::shared_ptr<const void> storage)
      : view_(view), storage_(std::move(storage)) {}

  const WeightView& view() const { return view_; }
  int64_t rows() const { return view_.rows; }
  int64_t cols() const { return view_.cols; }
  bool empty() const { return view_.empty(); }
  bool owns() const { return storage_ != nullptr; }

 private:
  WeightView view_;
  std::shared_ptr<const void> storage_;  // null where it lies in a mapped file that others keep
};

}  // namespace pith

#endif  // PITH_CORE_WEIGHT_H_
