#include "load/quantised_tensors.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <span>
#include <string_view>
#include <utility>

#include "core/blocks.h"
#include "core/error.h"
#include "core/parallel.h"
#include "core/quantise.h"
#include "core/tensor.h"

namespace pith {
namespace {

// Rows that are quantised before what they were read from is given back.
constexpr int64_t kRowsTogether = 1024;

// Fewer steps of the largest f16 than the extreme value may get.
constexpr float kMostInQ4_0 = 6 * 65504.0f;

void RequireRange(std::string_view name, int64_t r, DType type, std::span<const float> row) {
  for (const float w : row) {
    Require(std::isfinite(w), ErrorCode::kCorruptData, "tensor ", name, ": row ", r, ": got ", w,
            ", expected finite values, which ", Name(type), " can hold");
    Require(type != DType::kQ4_0 || std::abs(w) <= kMostInQ4_0, ErrorCode::kCorruptData, "tensor ",
            name, ": row ", r, ": got ", w, ", expected at most ", kMostInQ4_0, " for int4");
  }
}

}  // namespace

struct QuantisedTensors::Storage {
  struct Matrix {
    BufferOwner<std::byte> values;
    BufferOwner<float> scales;
  };
  std::map<const void*, Matrix> matrices;
  std::shared_ptr<const void> inner;
};

QuantisedTensors::QuantisedTensors(TensorSource& inner, WeightsAs as, bool tied, int threads)
    : inner_(inner),
      as_(as),
      tied_(tied),
      threads_(threads),
      storage_(std::make_shared<Storage>()) {
  storage_->inner = inner.storage();
}

DType QuantisedTensors::TypeOf(std::string_view name) const {
  if (as_ == WeightsAs::kStored) return DType::kF32;
  constexpr std::string_view kLarge[] = {"in", "out", "q", "k", "v", "o", "gate", "up", "down"};
  const bool large = std::ranges::any_of(
      kLarge, [&](auto which) { return name.ends_with(StrCat(".", which, "_proj.weight")); });
  if (large) return as_ == WeightsAs::kInt4 ? DType::kQ4_0 : DType::kI8;
  const bool head = name == "lm_head.weight" || (tied_ && name == "backbone.embedding.weight");
  return head || name.ends_with("mixer.x_proj.weight") ? DType::kI8 : DType::kF32;
}

StoredMatrix QuantisedTensors::Matrix(std::string_view name, int64_t rows, int64_t cols) {
  const StoredMatrix stored = inner_.Matrix(name, rows, cols);
  const DType type = TypeOf(name);
  if (type == DType::kF32) return stored;
  Require(!IsQuantised(stored.dtype), ErrorCode::kUnsupported, "weights: tensor ", name, " is ",
          Name(stored.dtype),
          " in its file, expected f32, f16 or bf16 to quantise (stored takes it as it is)");
  Require(cols % BlockOf(type).values == 0, ErrorCode::kUnsupported, "weights: tensor ", name,
          " has ", cols, " columns, expected whole groups of ", BlockOf(type).values, " for int4");
  const int64_t row_bytes = BytesOf(type, cols);
  Storage::Matrix made{.values = BufferOwner<std::byte>(rows * row_bytes),
                       .scales = BufferOwner<float>(type == DType::kI8 ? rows : 0)};
  for (int64_t begin = 0; begin < rows; begin += kRowsTogether) {
    const int64_t count = std::min(kRowsTogether, rows - begin);
    ParallelFor(threads_, count, [&](int64_t i) {
      const int64_t r = begin + i;
      thread_local std::vector<float> row;
      row.resize(static_cast<size_t>(cols));
      WidenRow(stored, r, row);
      RequireRange(name, r, type, row);
      std::byte* const to = made.values.data() + r * row_bytes;
      if (type == DType::kI8) {
        made.scales.data()[r] = QuantiseRow(row, reinterpret_cast<int8_t*>(to));
      } else {
        QuantiseQ4_0(row, to);
      }
    });
    const int64_t stored_bytes = BytesOf(stored.dtype, cols);
    inner_.DropPart({stored.dtype,
                     static_cast<const std::byte*>(stored.data) + begin * stored_bytes, count,
                     cols});
  }
  inner_.Drop(stored);
  const StoredMatrix matrix{type, made.values.data(), rows, cols,
                            type == DType::kI8 ? made.scales.data() : nullptr};
  storage_->matrices.emplace(matrix.data, std::move(made));
  return matrix;
}

void QuantisedTensors::Drop(const StoredMatrix& matrix) {
  if (storage_->matrices.erase(matrix.data) == 0) inner_.Drop(matrix);
}

void QuantisedTensors::DropPart(const StoredMatrix& rows) { inner_.DropPart(rows); }

}  // namespace pith
