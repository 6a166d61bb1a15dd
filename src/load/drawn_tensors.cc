#include "load/drawn_tensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <map>
#include <span>

#include "core/checksum.h"
#include "core/error.h"
#include "core/parallel.h"

namespace pith {
namespace {

// SplitMix64 (Steele, Lea & Flood 2014): seeds that have nothing in common.
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
// To nearest, without ToBF16's cases, so that the loop becomes vector instructions.
void Store(float value, BF16& to) {
  to.bits = static_cast<uint16_t>((std::bit_cast<uint32_t>(value) + 0x8000u) >> 16);
}

constexpr size_t kLanes = 16;
constexpr size_t kBlock = 2 * kLanes;         // values of one step of all lanes
constexpr int64_t kPiece = int64_t{1} << 18;  // values with generators of their own
static_assert(kPiece % static_cast<int64_t>(kBlock) == 0);

// xorshift generators (Marsaglia 2003) side by side; each number gives two values of 16 bits,
// uniform in ±spread.
class Lanes {
 public:
  Lanes(uint64_t key, float spread) : step_(spread / 32768.0f) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      state_[lane] = static_cast<uint32_t>(Hash(key + lane) >> 32) | 1u;  // never 0
    }
  }

  template <class T>
  void Next(T* out) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      uint32_t s = state_[lane];
      s ^= s << 13;
      s ^= s >> 17;
      s ^= s << 5;
      state_[lane] = s;
      Store(Value(s), out[lane]);
      Store(Value(s >> 16), out[kLanes + lane]);
    }
  }

 private:
  float Value(uint32_t bits) const {
    return (static_cast<float>(static_cast<int16_t>(bits)) + 0.5f) * step_;
  }

  const float step_;
  std::array<uint32_t, kLanes> state_;
};

// A tensor's values, the pieces side by side on the threads.
template <class T>
void Fill(int threads, uint64_t key, std::span<T> out, float spread) {
  const int64_t size = std::ssize(out);
  ParallelFor(threads, (size + kPiece - 1) / kPiece, [&](int64_t p) {
    Lanes lanes(key + static_cast<uint64_t>(p) * kLanes, spread);
    T* at = out.data() + p * kPiece;
    T* const end = out.data() + std::min(size, (p + 1) * kPiece);
    for (; end - at >= static_cast<std::ptrdiff_t>(kBlock); at += kBlock) lanes.Next(at);
    std::array<T, kBlock> rest;
    lanes.Next(rest.data());
    std::copy_n(rest.data(), end - at, at);
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
    Fill(threads_, KeyOf(name), std::span(reinterpret_cast<float*>(data), count), spread);
  } else {
    Fill(threads_, KeyOf(name), std::span(reinterpret_cast<BF16*>(data), count), spread);
  }
  return {dtype_, data, rows, cols};
}

std::vector<float> DrawnTensors::Vector(std::string_view name, const std::vector<int64_t>& shape) {
  int64_t size = 1;
  for (const int64_t n : shape) size *= n;
  parameters_ += size;
  std::vector<float> values(size);
  const Range range = RangeOf(name);
  Fill(threads_, KeyOf(name), std::span(values), (range.high - range.low) / 2);
  for (float& value : values) value += (range.low + range.high) / 2;
  return values;
}

void DrawnTensors::Drop(const StoredMatrix& matrix) { storage_->matrices.erase(matrix.data); }

}  // namespace pith
