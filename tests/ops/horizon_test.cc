// Which far writes arrive (docs/reductions.md, "skim"): both rules against their definitions, over
// chunks whose decay and mass are written out in double.

#include "ops/horizon.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "ops/far_region.h"

namespace pith {
namespace {

// D of each chunk, and its mass at the region's end, m · D.
struct Chunks {
  std::vector<double> decay, mass;

  Chunks(int64_t far, int64_t chunk, float a, uint64_t seed) {
    const FarRegion region{.far = far, .chunk = chunk};
    std::mt19937_64 random(seed);
    std::uniform_real_distribution<double> step(0.01, 0.3);
    std::vector<double> dt(far);
    for (double& d : dt) d = step(random);
    for (int64_t c = 0; c < CountChunks(region); ++c) {
      const RowRun rows = ChunkRows(region, c);
      decay.push_back(std::exp(a * std::accumulate(dt.begin() + rows.end, dt.end(), 0.0)));
      mass.push_back(0);
      for (int64_t t = rows.begin; t < rows.end; ++t) {
        const double after = std::accumulate(dt.begin() + t + 1, dt.end(), 0.0);
        mass.back() += dt[t] * std::exp(a * after);
      }
    }
  }
};

TEST(Horizon, ThresholdKeepsChunksThatDecayLess) {
  for (const int64_t far : {1, 7, 8, 9, 100}) {
    const Chunks chunks(far, 8, -2, 2);
    for (const double threshold : {0.0, 1e-3, 0.1, 0.5, 1.0}) {
      SCOPED_TRACE(::testing::Message() << far << " rows, threshold " << threshold);
      const auto needed = NeededChunks({.threshold = threshold}, chunks.decay, chunks.mass);
      ASSERT_EQ(needed.size(), chunks.decay.size());
      for (size_t c = 0; c < needed.size(); ++c) {
        EXPECT_EQ(needed[c] == 1, chunks.decay[c] >= threshold) << "chunk " << c;
      }
      EXPECT_EQ(needed.back(), 1);  // nothing decays after the last chunk
    }
  }
}

TEST(Horizon, MassLeavesOutTheLeastUpToItsShare) {
  const Chunks chunks(100, 8, -0.3f, 3);
  const double total = std::accumulate(chunks.mass.begin(), chunks.mass.end(), 0.0);
  for (const double share : {0.0, 0.05, 0.1, 0.5, 1.0}) {
    SCOPED_TRACE(share);
    const auto needed = NeededChunks({.mass = share}, chunks.decay, chunks.mass);
    double left_out = 0;
    double largest_out = 0;
    double least_kept = HUGE_VAL;
    for (size_t c = 0; c < needed.size(); ++c) {
      if (needed[c] == 0) {
        left_out += chunks.mass[c];
        largest_out = std::max(largest_out, chunks.mass[c]);
      } else {
        least_kept = std::min(least_kept, chunks.mass[c]);
      }
    }
    EXPECT_LE(left_out, share * total * (1 + 1e-6));
    EXPECT_LE(largest_out, least_kept * (1 + 1e-6));
    if (share < 1) {
      EXPECT_GT(left_out + least_kept, share * total * (1 - 1e-6));
    }
  }
}

TEST(Horizon, TiesInMassGoToTheEarlierChunk) {
  // No decay and equal steps: all chunks weigh the same, and the first ones go.
  const std::vector<double> decay(4, 1.0), mass(4, 5.0);
  EXPECT_EQ(NeededChunks({.mass = 0.5}, decay, mass), (std::vector<uint8_t>{0, 0, 1, 1}));
}

}  // namespace
}  // namespace pith
