// StateWrite: against its formula in double, and against the state that Ssd leaves over the same
// rows. The sum has `rows` terms and the decay's one; each is rounded once in f32, so the error is
// at most (rows + 2) · eps times the sum of magnitudes.

#include "ops/state_write.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "ops/backends.h"
#include "ops/ssd.h"

namespace pith {
namespace {

std::vector<float> Draw(int64_t size, uint64_t seed, float low, float high) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<float> uniform(low, high);
  std::vector<float> v(size);
  for (float& x : v) x = uniform(random);
  return v;
}

std::vector<Device> Devices() {
  std::vector<Device> devices = {Device::kReference};
  if (CpuBackend() != nullptr) devices.push_back(Device::kCpu);
  return devices;
}

TEST(StateWrite, EqualsItsFormula) {
  for (const int64_t rows : {0, 1, 2, 3, 63, 64, 65, 257}) {
    for (const int64_t states : {1, 5, 6, 7, 16, 128}) {
      for (const int64_t width : {1, 15, 16, 17, 63, 64, 80}) {
        SCOPED_TRACE(::testing::Message() << rows << " rows, " << states << " × " << width);
        const auto x = Draw(rows * (width + 3), 1, -1, 1);
        const auto b = Draw(rows * (states + 2), 2, -1, 1);
        const auto weight = Draw(rows, 3, 0, 1);
        const auto before = Draw(states * width, 4, -1, 1);
        for (const Device device : Devices()) {
          std::vector<float> state = before;
          StateWrite({.device = device}, {.x = {x.data(), rows, width, width + 3},
                                          .b = {b.data(), rows, states, states + 2},
                                          .weight = weight.data(),
                                          .decay = 0.75f,
                                          .state = state.data()});
          for (int64_t i = 0; i < states * width; ++i) {
            const int64_t n = i / width;
            const int64_t p = i % width;
            double sum = 0.75 * before[i];
            double magnitude = std::abs(sum);
            for (int64_t t = 0; t < rows; ++t) {
              const double term =
                  double{weight[t]} * b[t * (states + 2) + n] * x[t * (width + 3) + p];
              sum += term;
              magnitude += std::abs(term);
            }
            const double bound =
                static_cast<double>(rows + 2) * std::numeric_limits<float>::epsilon() * magnitude;
            ASSERT_NEAR(state[i], sum, bound) << "cell " << n << ", " << p;
          }
        }
      }
    }
  }
}

// SelectiveScan and Ssd that leave outputs out must leave their states alone:
// tests/model/skim_test.
TEST(StateWrite, EqualsTheStateOfSsd) {
  constexpr int64_t kRows = 100;
  constexpr int64_t kStates = 24;
  constexpr int64_t kWidth = 16;
  const auto x = Draw(kRows * kWidth, 1, -1, 1);
  const auto b = Draw(kRows * kStates, 2, -1, 1);
  const auto dt = Draw(kRows, 3, -3, 0);
  const float bias = 0.5f;
  const float a = -1.5f;
  const float d = 0;
  std::vector<float> y(kRows * kWidth);
  std::vector<float> expected(kStates * kWidth, 0.5f);
  float* states[] = {expected.data()};
  const Segment segment{0, kRows};
  Ssd({.device = Device::kReference}, {.n_heads = 1,
                                       .head_dim = kWidth,
                                       .n_groups = 1,
                                       .d_state = kStates,
                                       .chunk = 16,
                                       .x = {x.data(), kRows, kWidth},
                                       .b = {b.data(), kRows, kStates},
                                       .c = {b.data(), kRows, kStates},
                                       .dt = {dt.data(), kRows, 1},
                                       .dt_bias = &bias,
                                       .dt_min = 0,
                                       .dt_max = std::numeric_limits<float>::infinity(),
                                       .a = &a,
                                       .d = &d,
                                       .segments = {&segment, 1},
                                       .states = states,
                                       .y = {y.data(), kRows, kWidth}});
  std::vector<float> weight(kRows);
  double log_decay = 0;
  for (int64_t t = kRows - 1; t >= 0; --t) {
    const double delta = std::log1p(std::exp(double{dt[t]} + bias));
    weight[t] = static_cast<float>(delta * std::exp(log_decay));
    log_decay += delta * a;
  }
  for (const Device device : Devices()) {
    std::vector<float> state(kStates * kWidth, 0.5f);
    StateWrite({.device = device}, {.x = {x.data(), kRows, kWidth},
                                    .b = {b.data(), kRows, kStates},
                                    .weight = weight.data(),
                                    .decay = static_cast<float>(std::exp(log_decay)),
                                    .state = state.data()});
    // Sums of at most 100 terms below 1 in magnitude, decayed: as above.
    for (size_t i = 0; i < state.size(); ++i) {
      EXPECT_NEAR(state[i], expected[i], 102 * std::numeric_limits<float>::epsilon() * 10);
    }
  }
}

}  // namespace
}  // namespace pith
