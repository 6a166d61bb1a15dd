// What the operators' tests share: seeded inputs in strided matrices whose padding is poisoned, in
// memory that the device under test reaches, and comparison against the reference backend, which
// computes in double.
#ifndef PITH_TESTS_OPS_OPS_TESTING_H_
#define PITH_TESTS_OPS_OPS_TESTING_H_

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <limits>
#include <random>
#include <span>
#include <vector>

#include "ops/backend.h"
#include "tests/device.h"
#include "tests/shared_memory.h"

namespace pith::ops_testing {

using testing::Shared;

// Around the vector widths and tile sizes of every instruction set.
inline constexpr int64_t kSizes[] = {1, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 65, 257};

// Half the distance from 1 to the next float: the relative error of one rounding.
inline constexpr double kRounding = 0x1p-24;

inline const Exec kReference = ExecOn(Device::kReference);
// The device under test; how many threads it uses, where it uses the host's, changes no bit.
inline Exec Tested(int threads = 1) { return ExecOn(testing::DeviceUnderTest(), threads); }
// The reference, then the device under test with each number of threads.
inline std::vector<Exec> ReferenceAndTested(std::initializer_list<int> threads = {1}) {
  std::vector<Exec> backends = {kReference};
  if (testing::DeviceUnderTest() == Device::kReference) return backends;
  for (const int n : threads) backends.push_back(Tested(n));
  return backends;
}

// The vector that an operator takes; empty for a null pointer.
inline VecView<const float> Vec(const Shared<float>& v) {
  return {v.data(), static_cast<int64_t>(v.size())};
}

// f32 values [rows, cols], prepared for exec's backend.
inline Weight Prepare(const Exec& exec, const Shared<float>& w, int64_t rows, int64_t cols) {
  return exec.backend->Prepare(exec, {DType::kF32, w.data(), rows, cols}, WeightUse::kProduct);
}

// Whether products with w are of pairs of f16, whose sums of 64 are f16 too (AVX-512 FP16): they
// compare with the reference's of f32, others with those of their own precision, which round the
// same inputs.
inline bool MultipliesF16(const WeightView& w) {
  return w.format == WeightFormat::kPairPanels && w.dtype == DType::kF16;
}

// What a sum of `depth` products and a bias errs by at most, in any order: (depth + 3) · 2⁻²⁴ of
// `sum`, the sum of their absolute values (Higham, "Accuracy and Stability", §3.1). Of pairs of f16
// a product carries the roundings of its two factors, no more than 34 of sums, and those of f32: 37
// times 2⁻¹¹. What is subnormal in f16 errs by half of its last place besides, 2⁻²⁸ of its row's
// largest value, and 2⁻³¹ of the product of two, since the largest ones are brought to 8; `most` is
// what no product exceeds.
inline double ProductBound(const WeightView& w, int64_t depth, double sum, double most) {
  const auto products = static_cast<double>(depth);
  if (!MultipliesF16(w)) return (products + 3) * kRounding * sum;
  return 37 * 0x1p-11 * sum + products * 0x1p-26 * most;
}

class Random {
 public:
  explicit Random(uint32_t seed) : engine_(seed) {}
  float Uniform(float low, float high) {
    return low + (high - low) * static_cast<float>(engine_() >> 8) * 0x1p-24f;
  }
  Shared<float> Vector(int64_t n, float low = -1, float high = 1) {
    Shared<float> v(n);
    for (float& f : v) f = Uniform(low, high);
    return v;
  }

 private:
  std::mt19937 engine_;
};

// A [rows, cols] matrix in a wider buffer. What lies between rows and around them is NaN, so that
// reading it shows in a result, and CheckPadding tells whether something was written there.
class Strided {
 public:
  Strided(int64_t rows, int64_t cols, int64_t padding = 5)
      : rows_(rows),
        cols_(cols),
        stride_(cols + padding),
        data_(2 + (rows + 1) * stride_, std::bit_cast<float>(kPoison)) {}
  Strided(Random& random, int64_t rows, int64_t cols, float low = -1, float high = 1)
      : Strided(rows, cols) {
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < cols; ++c) view().Row(r)[c] = random.Uniform(low, high);
    }
  }

  MatView<float> view() { return {data_.data() + 2, rows_, cols_, stride_}; }
  MatView<const float> view() const { return {data_.data() + 2, rows_, cols_, stride_}; }
  float At(int64_t r, int64_t c) const { return view().Row(r)[c]; }

  void CheckPadding() const {
    for (int64_t i = 0; i < static_cast<int64_t>(data_.size()); ++i) {
      const int64_t at = i - 2;
      if (at >= 0 && at / stride_ < rows_ && at % stride_ < cols_) continue;
      ASSERT_EQ(std::bit_cast<uint32_t>(data_[i]), kPoison) << "written outside, at " << at;
    }
  }

 private:
  static constexpr uint32_t kPoison = 0x7fc0dead;
  int64_t rows_, cols_, stride_;
  Shared<float> data_;
};

// |actual − expected| ≤ bound(r, c) everywhere; a NaN fails.
inline void ExpectNear(const Strided& actual, const Strided& expected,
                       const std::function<double(int64_t, int64_t)>& bound) {
  const auto view = expected.view();
  for (int64_t r = 0; r < view.rows; ++r) {
    for (int64_t c = 0; c < view.cols; ++c) {
      const double error = std::abs(static_cast<double>(actual.At(r, c)) - expected.At(r, c));
      ASSERT_LE(error, bound(r, c)) << "at row " << r << ", column " << c << ": got "
                                    << actual.At(r, c) << ", expected " << expected.At(r, c);
    }
  }
  actual.CheckPadding();
}

inline bool SameBits(const float* a, const float* b, int64_t n) {
  return n == 0 || std::memcmp(a, b, n * sizeof(float)) == 0;
}

inline void ExpectSameBits(std::span<const float> a, std::span<const float> b) {
  ASSERT_EQ(a.size(), b.size());
  EXPECT_TRUE(SameBits(a.data(), b.data(), a.size()));
}

inline void ExpectSameBits(MatView<const float> a, MatView<const float> b) {
  ASSERT_EQ(a.rows, b.rows);
  ASSERT_EQ(a.cols, b.cols);
  for (int64_t r = 0; r < a.rows; ++r) {
    ASSERT_TRUE(SameBits(a.Row(r), b.Row(r), a.cols)) << "row " << r;
  }
}

// One state per segment, in slots of one allocation with gaps between them, in reverse order.
class States {
 public:
  States() = default;
  States(Random& random, size_t count, int64_t size)
      : size_(size), data_(random.Vector(static_cast<int64_t>(count) * (size + kGap))) {
    for (size_t i = 0; i < count; ++i) slots_.push_back(static_cast<int32_t>(count - 1 - i));
  }

  size_t count() const { return slots_.size(); }
  int64_t size() const { return size_; }
  float At(size_t state, int64_t i) const { return data_[Begin(state) + i]; }
  Shared<float> Of(size_t state) const {
    return {data_.begin() + Begin(state), data_.begin() + Begin(state) + size_};
  }
  void MakePositive() {
    for (float& v : data_) v = std::abs(v);
  }
  void Scale(float factor) {
    for (float& v : data_) v *= factor;
  }
  StateSlots view() { return {data_.data(), size_ + kGap, slots_}; }
  operator StateSlots() { return view(); }  // NOLINT
  StateSlots view(size_t state) {
    return {data_.data(), size_ + kGap, std::span(slots_).subspan(state, 1)};
  }

 private:
  static constexpr int64_t kGap = 3;
  int64_t Begin(size_t state) const { return slots_[state] * (size_ + kGap); }

  int64_t size_ = 0;
  Shared<float> data_;
  std::vector<int32_t> slots_;
};

// Segments of these lengths with a row that belongs to none between them.
inline std::vector<Segment> SegmentsOf(std::initializer_list<int64_t> counts) {
  std::vector<Segment> segments;
  int64_t begin = 0;
  for (const int64_t count : counts) {
    segments.push_back({begin, count});
    begin += count + 1;
  }
  return segments;
}

inline int64_t RowsOf(const std::vector<Segment>& segments) {
  return segments.back().begin + segments.back().count;
}

}  // namespace pith::ops_testing

#endif  // PITH_TESTS_OPS_OPS_TESTING_H_
