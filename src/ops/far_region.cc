#include "ops/far_region.h"

#include <algorithm>

#include "core/error.h"

namespace pith {

int64_t CountChunks(const FarRegion& region) {
  return (region.far + region.chunk - 1) / region.chunk;
}

RowRun ChunkRows(const FarRegion& region, int64_t c) {
  const int64_t end = region.far - (CountChunks(region) - 1 - c) * region.chunk;
  return {std::max<int64_t>(0, end - region.chunk), end};
}

std::vector<RowRun> NeededRuns(const FarRegion& region, std::span<const uint8_t> needed) {
  PITH_CHECK(static_cast<int64_t>(needed.size()) == CountChunks(region));
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

int64_t CountNeededRows(const FarRegion& region, std::span<const uint8_t> needed) {
  PITH_CHECK(static_cast<int64_t>(needed.size()) == CountChunks(region));
  if (needed.empty()) return 0;
  const int64_t missing = region.chunk - ChunkRows(region, 0).end;  // of the first chunk
  const int64_t chunks = std::ranges::count_if(needed, [](uint8_t n) { return n != 0; });
  return chunks * region.chunk - (needed[0] != 0 ? missing : 0);
}

std::vector<uint8_t> NeededByAny(std::span<const uint8_t> needed, int64_t heads) {
  const size_t chunks = needed.size() / heads;
  std::vector<uint8_t> any(chunks, 0);
  for (int64_t h = 0; h < heads; ++h) {
    for (size_t c = 0; c < chunks; ++c) any[c] |= needed[h * chunks + c];
  }
  return any;
}

}  // namespace pith
