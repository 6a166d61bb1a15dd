// What the operators' tests share: seeded inputs in strided matrices whose padding is poisoned, and
// comparison against the reference backend, which computes in double.
#ifndef PITH_TESTS_OPS_OPS_TESTING_H_
#define PITH_TESTS_OPS_OPS_TESTING_H_

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <vector>

#include "ops/kernels.h"

namespace pith::ops_testing {

// Around the vector widths and tile sizes of every instruction set.
inline constexpr int64_t kSizes[] = {1, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 65, 257};

// Half the distance from 1 to the next float: the relative error of one rounding.
inline constexpr double kRounding = 0x1p-24;

inline constexpr Exec kReference = {.device = Device::kReference};
inline Exec Cpu(int threads = 1) { return {.device = Device::kCpu, .threads = threads}; }

class Random {
 public:
  explicit Random(uint32_t seed) : engine_(seed) {}
  float Uniform(float low, float high) {
    return low + (high - low) * static_cast<float>(engine_() >> 8) * 0x1p-24f;
  }
  std::vector<float> Vector(int64_t n, float low = -1, float high = 1) {
    std::vector<float> v(n);
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
  std::vector<float> data_;
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

inline void ExpectSameBits(const std::vector<float>& a, const std::vector<float>& b) {
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

// One state per segment, and the pointers that operators take.
struct States {
  std::vector<std::vector<float>> values;
  std::vector<float*> pointers;

  States() = default;
  States(Random& random, size_t count, int64_t size) {
    for (size_t i = 0; i < count; ++i) values.push_back(random.Vector(size));
    Point();
  }
  States(const States& other) : values(other.values) { Point(); }
  States& operator=(const States&) = delete;

  void Point() {
    pointers.clear();
    for (auto& v : values) pointers.push_back(v.data());
  }
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

// Fixture: skips where the build has no CPU backend.
class CpuTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (CpuKernels() == nullptr) GTEST_SKIP() << "built without the CPU backend";
  }
};

}  // namespace pith::ops_testing

#endif  // PITH_TESTS_OPS_OPS_TESTING_H_
