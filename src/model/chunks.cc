#include "model/chunks.h"

#include "core/error.h"

namespace pith {

std::vector<Chunk> PackChunks(std::span<const int64_t> lengths, int64_t max_rows,
                              int64_t multiple) {
  PITH_CHECK(multiple >= 1 && multiple <= max_rows);
  std::vector<Chunk> chunks;
  int64_t room = 0;
  for (size_t s = 0; s < lengths.size(); ++s) {
    for (int64_t begin = 0; begin < lengths[s];) {
      const int64_t left = lengths[s] - begin;
      int64_t count = left <= room ? left : room - room % multiple;
      if (count == 0) {
        chunks.emplace_back();
        room = max_rows;
        count = left <= room ? left : room - room % multiple;
      }
      chunks.back().push_back({static_cast<int32_t>(s), begin, count});
      begin += count;
      room -= count;
    }
  }
  return chunks;
}

int64_t CountRows(const Chunk& chunk) {
  int64_t rows = 0;
  for (const Piece& piece : chunk) rows += piece.count;
  return rows;
}

}  // namespace pith
