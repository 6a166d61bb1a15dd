// Which writes of far tokens arrive at the end of the far region.
#ifndef PITH_REDUCE_HORIZON_H_
#define PITH_REDUCE_HORIZON_H_

#include <cstdint>
#include <span>
#include <vector>

#include "reduce/skim.h"

namespace pith {

// Rows [begin, end) of a far region.
struct RowRun {
  int64_t begin = 0;
  int64_t end = 0;
  bool operator==(const RowRun&) const = default;
};

// What one head of one layer writes of a far region.
struct HeadWrites {
  std::vector<float> weight;    // [far] Δ_t · decay from after t to the region's end
  float decay = 1;              // of the state over the whole region
  std::vector<uint8_t> needed;  // [chunks] 1 where the chunk is written
  int64_t needed_rows = 0;

  // Consecutive needed chunks as runs of rows.
  std::vector<RowRun> Runs(const FarRegion& region) const;
};

int64_t CountChunks(const FarRegion& region);
// Rows of chunk c; chunks are counted from the first row, which begins the short one, if any.
RowRun ChunkRows(const FarRegion& region, int64_t c);

// dt [far]: Δ after softplus and limits; a < 0: the head's A. Sums run in double from the end.
HeadWrites PlanWrites(std::span<const float> dt, float a, const FarRegion& region,
                      const Horizon& horizon);

}  // namespace pith

#endif  // PITH_REDUCE_HORIZON_H_
