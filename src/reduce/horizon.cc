#include "reduce/horizon.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"

namespace pith {

int64_t CountChunks(const FarRegion& region) {
  return (region.far + region.chunk - 1) / region.chunk;
}

RowRun ChunkRows(const FarRegion& region, int64_t c) {
  const int64_t end = region.far - (CountChunks(region) - 1 - c) * region.chunk;
  return {std::max<int64_t>(0, end - region.chunk), end};
}

std::vector<RowRun> HeadWrites::Runs(const FarRegion& region) const {
  std::vector<RowRun> runs;
  for (size_t c = 0; c < needed.size(); ++c) {
    if (needed[c] == 0) continue;
    const RowRun rows = ChunkRows(region, static_cast<int64_t>(c));
    if (!runs.empty() && runs.back().end == rows.begin) {
      runs.back().end = rows.end;
    } else {
      runs.push_back(rows);
    }
  }
  return runs;
}

namespace {

// The threshold: whole chunks by the decay from their end.
void NeedByDecay(std::span<const double> log_decay, const FarRegion& region, double threshold,
                 HeadWrites& writes) {
  for (size_t c = 0; c < writes.needed.size(); ++c) {
    const int64_t end = ChunkRows(region, static_cast<int64_t>(c)).end;
    writes.needed[c] = std::exp(log_decay[end - 1]) >= threshold ? 1 : 0;
  }
}

// The mass: the least chunks go while together they hold at most `share` of the head's total.
void NeedByMass(const FarRegion& region, double share, HeadWrites& writes) {
  std::vector<double> mass(writes.needed.size(), 0.0);
  for (size_t c = 0; c < mass.size(); ++c) {
    const RowRun rows = ChunkRows(region, static_cast<int64_t>(c));
    for (int64_t t = rows.begin; t < rows.end; ++t) mass[c] += writes.weight[t];
  }
  std::vector<size_t> order(mass.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, {}, [&](size_t c) { return mass[c]; });
  const double limit = share * std::accumulate(mass.begin(), mass.end(), 0.0);
  double sum = 0;
  std::ranges::fill(writes.needed, uint8_t{1});
  for (const size_t c : order) {
    sum += mass[c];
    if (sum > limit) break;
    writes.needed[c] = 0;
  }
}

}  // namespace

HeadWrites PlanWrites(std::span<const float> dt, float a, const FarRegion& region,
                      const Horizon& horizon) {
  PITH_CHECK(static_cast<int64_t>(dt.size()) == region.far);
  HeadWrites writes;
  writes.weight.resize(dt.size());
  writes.needed.resize(CountChunks(region));
  std::vector<double> log_decay(dt.size());  // from after t to the region's end
  double sum = 0;
  for (int64_t t = region.far - 1; t >= 0; --t) {
    log_decay[t] = sum;
    writes.weight[t] = static_cast<float>(dt[t] * std::exp(sum));
    sum += static_cast<double>(dt[t]) * a;
  }
  writes.decay = static_cast<float>(std::exp(sum));
  if (horizon.mass) {
    NeedByMass(region, *horizon.mass, writes);
  } else {
    NeedByDecay(log_decay, region, horizon.threshold, writes);
  }
  for (size_t c = 0; c < writes.needed.size(); ++c) {
    if (writes.needed[c] == 0) continue;
    const RowRun rows = ChunkRows(region, static_cast<int64_t>(c));
    writes.needed_rows += rows.end - rows.begin;
  }
  return writes;
}

}  // namespace pith
