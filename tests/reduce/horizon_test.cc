// Which far writes arrive (docs/reductions.md, "skim"): chunks, weights and both rules against
// their definitions, written out chunk by chunk in double.

#include "reduce/horizon.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <random>

namespace pith {
namespace {

std::vector<float> Steps(int64_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<float> uniform(0.01f, 0.3f);
  std::vector<float> dt(count);
  for (float& v : dt) v = uniform(random);
  return dt;
}

TEST(Horizon, ChunksAreCountedFromTheEnd) {
  const FarRegion region{.far = 150, .chunk = 64};
  EXPECT_EQ(CountChunks(region), 3);
  EXPECT_EQ(ChunkRows(region, 0), (RowRun{0, 22}));
  EXPECT_EQ(ChunkRows(region, 1), (RowRun{22, 86}));
  EXPECT_EQ(ChunkRows(region, 2), (RowRun{86, 150}));
  EXPECT_EQ(CountChunks({.far = 0, .chunk = 64}), 0);
  EXPECT_EQ(CountChunks({.far = 64, .chunk = 64}), 1);
}

TEST(Horizon, RunsJoinNeighbours) {
  HeadWrites writes;
  writes.needed = {1, 1, 0, 1};
  const FarRegion region{.far = 35, .chunk = 10};
  EXPECT_EQ(writes.Runs(region), (std::vector<RowRun>{{0, 15}, {25, 35}}));
}

// D and m of the definition.
struct Chunk {
  double decay = 1;
  double mass = 0;
};
std::vector<Chunk> ByDefinition(const std::vector<float>& dt, float a, const FarRegion& region) {
  std::vector<Chunk> chunks(CountChunks(region));
  for (size_t c = 0; c < chunks.size(); ++c) {
    const RowRun rows = ChunkRows(region, static_cast<int64_t>(c));
    double after = 0;
    for (int64_t t = rows.end; t < region.far; ++t) after += double{dt[t]} * a;
    chunks[c].decay = std::exp(after);
    for (int64_t t = rows.begin; t < rows.end; ++t) {
      double rest = 0;
      for (int64_t u = t + 1; u < rows.end; ++u) rest += double{dt[u]} * a;
      chunks[c].mass += dt[t] * std::exp(rest);
    }
  }
  return chunks;
}

TEST(Horizon, WeightsAndDecay) {
  const FarRegion region{.far = 37, .chunk = 8};
  const std::vector<float> dt = Steps(region.far, 1);
  const float a = -1.25f;
  const HeadWrites writes = PlanWrites(dt, a, region, {.threshold = 0});
  const std::vector<Chunk> chunks = ByDefinition(dt, a, region);
  for (size_t c = 0; c < chunks.size(); ++c) {
    const RowRun rows = ChunkRows(region, static_cast<int64_t>(c));
    const double sum =
        std::accumulate(writes.weight.begin() + rows.begin, writes.weight.begin() + rows.end, 0.0);
    EXPECT_NEAR(sum, chunks[c].mass * chunks[c].decay, 1e-6 * sum);
    EXPECT_EQ(writes.needed[c], 1);
  }
  EXPECT_EQ(writes.needed_rows, region.far);
  const double all = std::accumulate(dt.begin(), dt.end(), 0.0) * a;
  EXPECT_NEAR(writes.decay, std::exp(all), 1e-6 * std::exp(all));
}

TEST(Horizon, ThresholdKeepsChunksThatDecayLess) {
  for (const int64_t far : {1, 7, 8, 9, 100}) {
    const FarRegion region{.far = far, .chunk = 8};
    const std::vector<float> dt = Steps(far, 2);
    for (const double threshold : {0.0, 1e-3, 0.1, 0.5, 1.0}) {
      SCOPED_TRACE(::testing::Message() << far << " rows, threshold " << threshold);
      const HeadWrites writes = PlanWrites(dt, -2, region, {.threshold = threshold});
      const std::vector<Chunk> chunks = ByDefinition(dt, -2, region);
      for (size_t c = 0; c < chunks.size(); ++c) {
        EXPECT_EQ(writes.needed[c] == 1, chunks[c].decay >= threshold) << "chunk " << c;
      }
      EXPECT_EQ(writes.needed.back(), 1);  // nothing decays after the last chunk
    }
  }
}

TEST(Horizon, MassLeavesOutTheLeastUpToItsShare) {
  const FarRegion region{.far = 100, .chunk = 8};
  const std::vector<float> dt = Steps(region.far, 3);
  const std::vector<Chunk> chunks = ByDefinition(dt, -0.3f, region);
  double total = 0;
  for (const Chunk& c : chunks) total += c.mass * c.decay;
  for (const double share : {0.0, 0.05, 0.1, 0.5, 1.0}) {
    SCOPED_TRACE(share);
    const HeadWrites writes = PlanWrites(dt, -0.3f, region, {.mass = share});
    double left_out = 0;
    double largest_out = 0;
    double least_kept = HUGE_VAL;
    for (size_t c = 0; c < chunks.size(); ++c) {
      const double mass = chunks[c].mass * chunks[c].decay;
      if (writes.needed[c] == 0) {
        left_out += mass;
        largest_out = std::max(largest_out, mass);
      } else {
        least_kept = std::min(least_kept, mass);
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
  const FarRegion region{.far = 40, .chunk = 10};
  const std::vector<float> dt(40, 0.5f);
  const HeadWrites writes = PlanWrites(dt, 0, region, {.mass = 0.5});
  EXPECT_EQ(writes.needed, (std::vector<uint8_t>{0, 0, 1, 1}));
}

}  // namespace
}  // namespace pith
