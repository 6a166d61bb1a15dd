// The far rows of one sequence, in the chunks in which their writes are made or left out.
#ifndef PITH_OPS_FAR_REGION_H_
#define PITH_OPS_FAR_REGION_H_

#include <cstdint>
#include <span>
#include <vector>

namespace pith {

// A context's first `far` rows are far, in chunks of `chunk` counted back from the last far row
// (the first chunk may be short).
struct FarRegion {
  int64_t far = 0;
  int64_t chunk = 64;
};

// Rows [begin, end) of a far region.
struct RowRun {
  int64_t begin = 0;
  int64_t end = 0;
  bool operator==(const RowRun&) const = default;
};

int64_t CountChunks(const FarRegion& region);
// Rows of chunk c; chunks are counted from the first row, which begins the short one, if any.
RowRun ChunkRows(const FarRegion& region, int64_t c);

// Consecutive needed chunks as runs of rows. needed [chunks]: 1 where the chunk is written.
std::vector<RowRun> NeededRuns(const FarRegion& region, std::span<const uint8_t> needed);
// The rows in them.
int64_t CountNeededRows(const FarRegion& region, std::span<const uint8_t> needed);

// The chunks that any of `heads` heads writes, of masks [heads · chunks].
std::vector<uint8_t> NeededByAny(std::span<const uint8_t> needed, int64_t heads);

}  // namespace pith

#endif  // PITH_OPS_FAR_REGION_H_
