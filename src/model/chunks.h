// Packs the rows of ragged sequences into chunks of bounded size.
#ifndef PITH_MODEL_CHUNKS_H_
#define PITH_MODEL_CHUNKS_H_

#include <cstdint>
#include <span>
#include <vector>

namespace pith {

// Rows [begin, begin + count) of one sequence.
struct Piece {
  int32_t sequence = 0;
  int64_t begin = 0;
  int64_t count = 0;
};
using Chunk = std::vector<Piece>;

// Covers sequence s's rows [0, lengths[s]) in order, at most `max_rows` rows a chunk. A sequence is
// cut at multiples of `multiple` of its own rows only, so that the scan sees the same SSD chunks
// however the batch is packed. 1 ≤ multiple ≤ max_rows. No padding exists.
std::vector<Chunk> PackChunks(std::span<const int64_t> lengths, int64_t max_rows, int64_t multiple);

int64_t CountRows(const Chunk& chunk);

}  // namespace pith

#endif  // PITH_MODEL_CHUNKS_H_
