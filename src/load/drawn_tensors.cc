#include "load/drawn_tensors.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <span>

#include "core/checksum.h"
#include "core/error.h"
#include "core/parallel.h"

namespace pith {
namespace {

// SplitMix64 (Steele, Lea & Flood 2014): the n-th number of a sequence without the others.
uint64_t Hash(uint64_t n) {
  uint64_t z = n * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

uint64_t KeyOf(std::string_view name) {
  Checksum checksum;
  checksum.Add(std::as_bytes(std::span(name.data(), name.size())));
  return checksum.value();
}

void Store(float value, float& to) { to = value; }
void Store(float value, BF16& to) { to = ToBF16(value); }

// Values first … end of a tensor, uniform in ±spread; a hash gives four of 16 bits.
template <class T>
void Fill(uint64_t key, int64_t first, std::span<T> out, float spread) {
  const float step = spread / 32768.0f;
  for (size_t i = 0; i < out.size(); i += 4) {
    const uint64_t bits = Hash(key + static_cast<uint64_t>(first) / 4 + i / 4 + 1);
    const size_t count = std::min<size_t>(4, out.size() - i);
    for (size_t k = 0; k < count; ++k) {
      const auto value = static_cast<int16_t>(static_cast<uint16_t>(bits >> (16 * k)));
      Store((static_cast<float>(value) + 0.5f) * step, out[i + k]);
    }
  }
}

template <class T>
void FillOnThreads(int threads, uint64_t key, std::span<T> out, float spread) {
  constexpr size_t kPiece = size_t{1} << 18;  // a multiple of 4
  const auto pieces = static_cast<int64_t>((out.size() + kPiece - 1) / kPiece);
  ParallelFor(threads, pieces, [&](int64_t p) {
    const size_t first = static_cast<size_t>(p) * kPiece;
    Fill(key, static_cast<int64_t>(first), out.subspan(first, std::min(kPiece, out.size() - first)),
         spread);
  });
}

struct Range {
  float low;
  float high;
};

// As mamba_ssm starts: Δ between 0.001 and 0.1, A between −16 and −1, D and norms about 1.
Range RangeOf(std::string_view name) {
  if (name.ends_with("dt_bias") || name.ends_with("dt_proj.bias")) return {-6.9f, -2.25f};
  if (name.ends_with("A_log")) return {0.0f, std::log(16.0f)};
  if (name.ends_with("conv1d.weight")) return {-0.5f, 0.5f};
  if (name.ends_with("bias")) return {-0.1f, 0.1f};
  return {0.9f, 1.1f};
}

}  // namespace

struct DrawnTensors::Storage {
  std::map<const void*, std::unique_ptr<std::byte[]>> matrices;
};

DrawnTensors::DrawnTensors(DType dtype, int threads)
    : dtype_(dtype), threads_(threads), storage_(std::make_shared<Storage>()) {
  PITH_CHECK(dtype == DType::kF32 || dtype == DType::kBF16);
}

std::shared_ptr<const void> DrawnTensors::storage() const { return storage_; }

StoredMatrix DrawnTensors::Matrix(std::string_view name, int64_t rows, int64_t cols) {
  const auto count = static_cast<size_t>(rows * cols);
  parameters_ += rows * cols;
  std::unique_ptr<std::byte[]> owned(new std::byte[count * SizeOf(dtype_)]);  // not initialised
  std::byte* const data = owned.get();
  storage_->matrices.emplace(data, std::move(owned));
  const float spread = std::sqrt(3.0f / static_cast<float>(cols));
  if (dtype_ == DType::kF32) {
    FillOnThreads(threads_, KeyOf(name), std::span(reinterpret_cast<float*>(data), count), spread);
  } else {
    FillOnThreads(threads_, KeyOf(name), std::span(reinterpret_cast<BF16*>(data), count), spread);
  }
  return {dtype_, data, rows, cols};
}

std::vector<float> DrawnTensors::Vector(std::string_view name, const std::vector<int64_t>& shape) {
  int64_t size = 1;
  for (const int64_t n : shape) size *= n;
  parameters_ += size;
  std::vector<float> values(size);
  const Range range = RangeOf(name);
  Fill(KeyOf(name), 0, std::span(values), (range.high - range.low) / 2);
  for (float& value : values) value += (range.low + range.high) / 2;
  return values;
}

void DrawnTensors::Drop(const StoredMatrix& matrix) { storage_->matrices.erase(matrix.data); }

}  // namespace pith
